{{/* What the pods of all components have in common. */}}

{{/* dict root, images: a list of image values, later ones win where they say something. */}}
{{- define "captionfleet.image" -}}
{{- $image := dict -}}
{{- range .images -}}
{{- range $key, $value := . -}}
{{- if $value }}{{ $_ := set $image $key $value }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $registry := default $image.registry .root.Values.global.imageRegistry -}}
{{- with $registry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .root.Chart.AppVersion $image.tag }}{{ end -}}
{{- end -}}

{{/* Names of Secrets to pull with, separated by commas. */}}
{{- define "captionfleet.pullSecrets" -}}
{{- $names := list -}}
{{- range concat (default list .Values.global.imagePullSecrets) .Values.imagePullSecrets -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- $names | uniq | join "," -}}
{{- end -}}

{{- define "captionfleet.imagePullSecrets" -}}
{{- with include "captionfleet.pullSecrets" . }}
imagePullSecrets:
{{- range splitList "," . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where a component's pod may run: the component's values. */}}
{{- define "captionfleet.scheduling" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Labels and annotations of a component's pod: dict root, component, values, annotations. */}}
{{- define "captionfleet.podMetadata" -}}
labels:
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- include "captionfleet.labels" . | nindent 2 }}
{{- with merge (default dict .annotations) .values.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* As strict as containers can be. */}}
{{- define "captionfleet.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* What the pods of hooks have in common; they have no values of their own. */}}
{{- define "captionfleet.hookPodSpec" -}}
enableServiceLinks: false
securityContext:
  {{- omit .Values.operator.podSecurityContext "fsGroup" "fsGroupChangePolicy" | toYaml | nindent 2 }}
{{- include "captionfleet.imagePullSecrets" . }}
{{- include "captionfleet.scheduling" (omit .Values.operator "topologySpreadConstraints" "affinity") }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 100Mi}
{{- end -}}

{{/* And their containers. */}}
{{- define "captionfleet.hookContainer" -}}
image: {{ include "captionfleet.image" (dict "root" . "images" (list .Values.image .Values.operator.image)) }}
imagePullPolicy: {{ default .Values.image.pullPolicy .Values.operator.image.pullPolicy }}
{{ include "captionfleet.containerSecurity" . }}
resources:
  requests: {cpu: 10m, memory: 64Mi}
  limits: {memory: 256Mi}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
{{- end -}}

{{/*
What every program is told: dict root, logLevel, optional (it also runs without the Secret).
No logFormat: `helm upgrade --reuse-values` of a release made before there was one.
*/}}
{{- define "captionfleet.commonEnv" -}}
- name: CAPTIONFLEET_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: CAPTIONFLEET_FLEET
  value: {{ include "captionfleet.fleet" .root | quote }}
- name: CAPTIONFLEET_LOG_LEVEL
  value: {{ .logLevel }}
- name: CAPTIONFLEET_LOG_FORMAT
  value: {{ default "text" .root.Values.logFormat }}
- name: RABBITMQ_URL
  valueFrom:
    secretKeyRef: {{- include "captionfleet.secretKeyRef" (include "captionfleet.brokerSecret" .root) | nindent 6 }}
      {{- if .optional }}
      optional: true
      {{- end }}
{{- end -}}

{{/* A service account: dict root, component, values, name. */}}
{{- define "captionfleet.serviceAccountManifest" -}}
{{- if .values.serviceAccount.create }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "captionfleet.serviceAccount" . }}
  labels: {{- include "captionfleet.labels" (dict "root" .root "component" .label) | nindent 4 }}
  {{- with .values.serviceAccount.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
# Pods that need a token ask for it themselves.
automountServiceAccountToken: false
{{- end }}
{{- end -}}

{{/* Of everything the pre-delete hook needs, which lives as long as the hook: dict root, component, weight. */}}
{{- define "captionfleet.uninstallMetadata" -}}
name: {{ include "captionfleet.fullname" .root }}-uninstall
labels: {{- include "captionfleet.labels" . | nindent 2 }}
annotations:
  helm.sh/hook: pre-delete
  helm.sh/hook-output-log-policy: hook-failed
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end -}}

{{/* Names and labels. */}}

{{- define "captionfleet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Short enough that what Kubernetes hangs behind it still fits. */}}
{{- define "captionfleet.fullname" -}}
{{- $name := include "captionfleet.name" . -}}
{{- $both := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $both .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of the installation on the broker. */}}
{{- define "captionfleet.fleet" -}}
{{- default .Release.Namespace .Values.fleet -}}
{{- end -}}

{{/* What selects the pods of a component: dict root, component. Never changes: selectors cannot. */}}
{{- define "captionfleet.selector" -}}
app.kubernetes.io/name: captionfleet
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of an object: dict root, component. */}}
{{- define "captionfleet.labels" -}}
{{- with .root.Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{ include "captionfleet.selector" . }}
app.kubernetes.io/part-of: captionfleet
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* dict root, component: the name of its service account. */}}
{{- define "captionfleet.serviceAccount" -}}
{{- $account := (get .root.Values .component).serviceAccount -}}
{{- default (printf "%s-%s" (include "captionfleet.fullname" .root) .component) $account.name -}}
{{- end -}}

{{/* NAME/KEY of the Secret with the broker's address. */}}
{{- define "captionfleet.brokerSecret" -}}
{{- with .Values.rabbitmq -}}
{{- if not .enabled -}}
{{- .existingSecret }}/{{ .existingSecretKey -}}
{{- else -}}
{{- default (printf "%s-broker" (include "captionfleet.fullname" $)) .auth.existingSecret }}/url
{{- end -}}
{{- end -}}
{{- end -}}

{{/* NAME/KEY of the Secret with the admin token. */}}
{{- define "captionfleet.tokenSecret" -}}
{{- if .Values.auth.existingSecret -}}
{{- .Values.auth.existingSecret }}/{{ .Values.auth.existingSecretKey -}}
{{- else -}}
{{- include "captionfleet.fullname" . }}-token/token
{{- end -}}
{{- end -}}

{{/* "NAME/KEY" as a reference. */}}
{{- define "captionfleet.secretKeyRef" -}}
name: {{ splitList "/" . | first }}
key: {{ splitList "/" . | last }}
{{- end -}}

{{- define "captionfleet.serverQueue" -}}
{{- default (printf "captionfleet.%s.results.api" (include "captionfleet.fleet" .)) .Values.api.serverQueue -}}
{{- end -}}

{{/* A value that stays what it is in the cluster: dict root, secret, key; else a new random one. */}}
{{- define "captionfleet.kept" -}}
{{- $there := lookup "v1" "Secret" .root.Release.Namespace .secret -}}
{{- $value := dig "data" .key "" $there -}}
{{- $value | default (randAlphaNum 40 | b64enc) -}}
{{- end -}}

{{/* Combinations that values.schema.json cannot refuse with a sentence a person understands. */}}

{{- define "captionfleet.checks" -}}
{{- $v := .Values -}}

{{- if gt (int $v.api.replicas) 1 -}}
{{- fail "api.replicas must be 1: pictures lie on the api's own volume, and a second api would not see them. A larger machine helps, or a second installation in another namespace." -}}
{{- end -}}

{{- if and (not $v.rabbitmq.enabled) (not $v.rabbitmq.existingSecret) -}}
{{- fail "rabbitmq.existingSecret is needed when rabbitmq.enabled is false: name a Secret that holds the broker's address, amqps://USER:PASSWORD@HOST:5671/VHOST, under the key rabbitmq.existingSecretKey." -}}
{{- end -}}
{{- if and $v.rabbitmq.enabled $v.rabbitmq.existingSecret -}}
{{- fail "rabbitmq.existingSecret names a broker of yours, but rabbitmq.enabled starts the built-in one: set rabbitmq.enabled to false, or use rabbitmq.auth.existingSecret for the password of the built-in one." -}}
{{- end -}}
{{- if and (not $v.rabbitmq.enabled) $v.rabbitmq.auth.existingSecret -}}
{{- fail "rabbitmq.auth.existingSecret is for the built-in broker, and rabbitmq.enabled is false: name the Secret of your own broker in rabbitmq.existingSecret." -}}
{{- end -}}

{{- if and $v.ingress.enabled (not $v.ingress.hosts) -}}
{{- fail "ingress.hosts is needed when ingress.enabled is true: name at least one host, for without one the console would answer to every name that leads to the ingress controller." -}}
{{- end -}}
{{- range $v.ingress.tls -}}
{{- range .hosts -}}
{{- if not (has . $v.ingress.hosts) -}}
{{- fail (printf "ingress.tls names the host %s, which ingress.hosts does not: add it there or remove it here." .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and $v.api.service.nodePort (ne $v.api.service.type "NodePort") -}}
{{- fail (printf "api.service.nodePort is for api.service.type NodePort, not %s: change the type or remove the port." $v.api.service.type) -}}
{{- end -}}
{{- if and $v.api.persistence.existingClaim (not $v.api.persistence.enabled) -}}
{{- fail "api.persistence.existingClaim is given but api.persistence.enabled is false, so the claim would not be used: set enabled to true or remove the claim." -}}
{{- end -}}

{{- range $component := list "api" "operator" "rabbitmq" -}}
{{- $account := (get $v $component).serviceAccount -}}
{{- if and (not $account.create) (not $account.name) -}}
{{- fail (printf "%s.serviceAccount.name is needed when %s.serviceAccount.create is false: name a ServiceAccount of this namespace." $component $component) -}}
{{- end -}}
{{- end -}}

{{- if gt (len (include "captionfleet.fleet" .)) 40 -}}
{{- fail (printf "the namespace %s has %d characters and the fleet is named after it, but a fleet's name may have 40: set fleet to a shorter name." .Release.Namespace (len .Release.Namespace)) -}}
{{- end -}}

{{- if and $v.quickstart.enabled (not $v.quickstart.model.spec) (not $v.quickstart.model.repo) -}}
{{- fail "quickstart.model needs repo, a repository of the Hugging Face hub, or spec, a whole CaptionModel spec." -}}
{{- end -}}
{{- end -}}

{{/*
Says "true" if this release may write the CRD `.name`: it is missing, or it is this release's own.
CRDs belong to the whole cluster, and releases in two namespaces must not fight over them.
*/}}
{{- define "captionfleet-crds.ours" -}}
{{- $there := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" .name -}}
{{- $owner := dig "metadata" "annotations" dict $there -}}
{{- $ours := and
  (eq (get $owner "meta.helm.sh/release-name") .root.Release.Name)
  (eq (get $owner "meta.helm.sh/release-namespace") .root.Release.Namespace) -}}
{{- if or (not $there) $ours -}}true{{- end -}}
{{- end -}}

{{- define "aurora-bridge.refusals" -}}
{{- end }}

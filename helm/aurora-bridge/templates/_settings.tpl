{{/*
From `settings` to the TOML file that the daemon reads, and to the volume with it and the secrets that it names. Paths in
the file start at its folder, where the volume has each secret under its name.
*/}}

{{/* The path of a secret reference, empty for none. */}}
{{- define "aurora-bridge.path" -}}
{{- if .file }}
{{- .file }}
{{- else if .existingSecret }}
{{- printf "secret/%s/%s" .existingSecret .key }}
{{- else if .existingConfigMap }}
{{- printf "configMap/%s/%s" .existingConfigMap .key }}
{{- end }}
{{- end }}

{{/* A value in TOML. JSON's strings, lists and booleans are TOML's too; its numbers must not come as 1.073741824e+09. */}}
{{- define "aurora-bridge.tomlValue" -}}
{{- if or (kindIs "string" .) (kindIs "bool" .) (kindIs "slice" .) }}
{{- toRawJson . }}
{{- else if eq (float64 .) (floor .) }}
{{- int64 . }}
{{- else }}
{{- float64 . }}
{{- end }}
{{- end }}

{{/* The lines of one table: what is null is left out, and a map is where a secret comes from. */}}
{{- define "aurora-bridge.tomlTable" -}}
{{- range $name, $value := . }}
{{- if kindIs "map" $value }}
{{- with include "aurora-bridge.path" $value }}
{{ $name }}_file = {{ toRawJson . }}
{{- end }}
{{- else if not (kindIs "invalid" $value) }}
{{ $name }} = {{ include "aurora-bridge.tomlValue" $value }}
{{- end }}
{{- end }}
{{- end }}

{{- define "aurora-bridge.toml" -}}
{{- $settings := .Values.settings }}
{{- $own := dict
    "ingress" (dict "port" 8080 "public_url" (include "aurora-bridge.publicUrl" .))
    "admin" (dict "port" 9090)
    "spool" (dict "enabled" .Values.persistence.enabled) }}
{{- include "aurora-bridge.tomlTable" (pick $settings "tenant" "embedded" "default_route") }}
{{- range $group := list "ingress" "admin" "kafka" "auth" "aurora" "deadlines" "spool" "index" "log" }}
{{- $given := default dict (get $settings $group) }}
{{- if and (eq $group "kafka") $settings.embedded }}
{{- /* Only what the daemon refuses beside `embedded`: it would warn of all else. */}}
{{- $given = pick $given "bootstrap_servers" }}
{{- end }}

[{{ $group }}]
{{- include "aurora-bridge.tomlTable" (merge (dict) (default dict (get $own $group)) $given) }}
{{- end }}
{{- range $settings.routes }}

[[routes]]
{{- include "aurora-bridge.tomlTable" . }}
{{- end }}
{{- range $settings.subscriptions }}

[[subscriptions]]
{{- include "aurora-bridge.tomlTable" . }}
{{- end }}
{{- range $event, $known := $settings.events }}

[events.{{ $event }}]
{{- include "aurora-bridge.tomlTable" $known }}
{{- end }}
{{- end }}

{{/* The paths of all references that are to be mounted, `secret/NAME/KEY`, as a JSON list. */}}
{{- define "aurora-bridge.mountedPaths" -}}
{{- $found := list }}
{{- $settings := .Values.settings }}
{{- $tables := concat (list $settings.ingress $settings.auth $settings.aurora) $settings.routes }}
{{- if not $settings.embedded }}
{{- $tables = append $tables $settings.kafka }}
{{- end }}
{{- range $table := $tables }}
{{- range $value := $table }}
{{- if kindIs "map" $value }}
{{- if not $value.file }}
{{- $found = append $found (include "aurora-bridge.path" $value) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- $found | compact | uniq | toJson }}
{{- end }}

{{/* Named by its content: settings that the daemon refuses never reach the pods that go on with the former ones. */}}
{{- define "aurora-bridge.settingsName" -}}
{{- printf "%s-%s" (include "aurora-bridge.fullname" .) (include "aurora-bridge.toml" . | sha256sum | trunc 10) }}
{{- end }}

{{/* The volume with the settings file and every secret that it names: whole, so that Kubernetes renews what changes. */}}
{{- define "aurora-bridge.settingsVolume" -}}
- name: settings
  projected:
    defaultMode: 0440
    sources:
      - configMap:
          name: {{ include "aurora-bridge.settingsName" . | quote }}
          items:
            - key: aurora-bridge.toml
              path: aurora-bridge.toml
      {{- range $path := include "aurora-bridge.mountedPaths" . | fromJsonArray }}
      {{- $parts := splitList "/" $path }}
      - {{ index $parts 0 }}:
          name: {{ index $parts 1 | quote }}
          items:
            - key: {{ index $parts 2 | quote }}
              path: {{ $path }}
      {{- end }}
{{- end }}

{{/* Names, labels and the image. */}}

{{- define "aurora-bridge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* At most 40 characters, so that what is hung on it stays below the 52 of a StatefulSet's and the 63 of a label's. */}}
{{- define "aurora-bridge.fullname" -}}
{{- $name := include "aurora-bridge.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Labels that never change: selectors and volume claims keep them for ever. */}}
{{- define "aurora-bridge.selectorLabels" -}}
app.kubernetes.io/name: {{ include "aurora-bridge.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* The chart's own labels win over commonLabels. */}}
{{- define "aurora-bridge.labels" -}}
{{- $own := include "aurora-bridge.selectorLabels" . | fromYaml }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") }}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- merge $own (omit .Values.commonLabels "app.kubernetes.io/component") | toYaml }}
{{- end }}

{{/* The daemon's own pods, as opposed to those of Jobs. */}}
{{- define "aurora-bridge.podSelector" -}}
{{ include "aurora-bridge.selectorLabels" . }}
app.kubernetes.io/component: bridge
{{- end }}

{{- define "aurora-bridge.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "aurora-bridge.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "aurora-bridge.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The hosts of the Ingress with their paths, as a JSON list: of none if it is off. */}}
{{- define "aurora-bridge.ingressHosts" -}}
{{- $hosts := list }}
{{- range ternary .Values.ingress.hosts list .Values.ingress.enabled }}
{{- if kindIs "string" . }}
{{- fail (printf "\n\ningress.hosts: invalid %q; each is an object now, with paths if need be. Write - host: %s.\n" . .) }}
{{- end }}
{{- $hosts = append $hosts (dict "host" .host "paths" (default (list (dict "path" "/")) .paths)) }}
{{- end }}
{{- toJson $hosts }}
{{- end }}

{{/* The URL under which Aurora reaches the ingress, empty where nothing says it. */}}
{{- define "aurora-bridge.publicUrl" -}}
{{- $hosts := list }}
{{- range include "aurora-bridge.ingressHosts" . | fromJsonArray }}
{{- $hosts = append $hosts .host }}
{{- end }}
{{- $hosts = concat $hosts (ternary .Values.httpRoute.hostnames list .Values.httpRoute.enabled) }}
{{- if .Values.settings.ingress.public_url }}
{{- .Values.settings.ingress.public_url }}
{{- else if $hosts }}
{{- printf "https://%s" (first $hosts) }}
{{- end }}
{{- end }}

{{- define "patchwire.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end -}}
{{- end }}

{{/* (dict "root" $ "role" "ingest") */}}
{{- define "patchwire.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "patchwire.labels" -}}
{{ include "patchwire.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: patchwire
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{/* A value as TOML. Numbers of values are floating-point; toToml would write large ones with an exponent. */}}
{{- define "patchwire.tomlValue" -}}
{{- if kindIs "string" . }}{{ . | toJson }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) }}{{ printf "%.0f" . }}
{{- else }}{{ . }}
{{- end }}
{{- end }}

{{/* What the chart sets goes into the user's sections. */}}
{{- define "patchwire.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $secrets := .Values.secrets }}
{{- $set := dict
    "insecure" .Values.insecure
    "http" (dict "listen" "0.0.0.0:8090")
    "grpc" (dict "listen" "0.0.0.0:50051") }}
{{- if $secrets.tls.name }}
{{- $_ := set $set "tls" (dict "cert" "/etc/patchwire/tls/tls.crt" "key" "/etc/patchwire/tls/tls.key") }}
{{- end }}
{{- if $secrets.clientCa.name }}
{{- $_ := set $set.grpc "client_ca" "/etc/patchwire/client-ca/ca.crt" }}
{{- end }}
{{- if $secrets.tokens.name }}
{{- $_ := set $set "auth" (dict "tokens" "/etc/patchwire/tokens/tokens") }}
{{- end }}
{{- $config = mergeOverwrite $config $set }}
{{- if $secrets.queue.name }}{{ $_ := unset $config.queue "url" }}{{ end }}
{{- range $key, $value := $config }}
{{- if not (kindIs "map" $value) }}
{{- $key }} = {{ include "patchwire.tomlValue" $value }}
{{ end }}
{{- end }}
{{- range $section, $keys := $config }}
{{- if kindIs "map" $keys }}
[{{ $section }}]
{{- range $key, $value := $keys }}
{{ $key }} = {{ include "patchwire.tomlValue" $value }}
{{- end }}
{{ end }}
{{- end }}
{{- end }}

{{/* Refuses what the processes would refuse when they start. */}}
{{- define "patchwire.check" -}}
{{- $secrets := .Values.secrets }}
{{- if not .Values.insecure }}
{{- if not $secrets.tls.name }}{{ fail "secrets.tls.name is empty: name a secret with a certificate, or set insecure if something else keeps strangers out" }}{{ end }}
{{- if not $secrets.tokens.name }}{{ fail "secrets.tokens.name is empty: name a secret with tokens, or set insecure if something else keeps strangers out" }}{{ end }}
{{- end }}
{{- if and $secrets.clientCa.name (not $secrets.tls.name) }}{{ fail "secrets.clientCa needs secrets.tls" }}{{ end }}
{{- end }}

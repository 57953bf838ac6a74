{{/* How often Prometheus scrapes a component, and the token that it sends. */}}
{{- define "dcred.scrape" -}}
interval: {{ .Values.metrics.serviceMonitor.interval | quote }}
{{- with .Values.metrics.serviceMonitor.authorization }}
authorization:
  {{- toYaml . | nindent 2 }}
{{- else }}
{{- /* Without a token every component would answer 401: where none is named, the place that docs/operations.md mounts it at. */}}
{{- with .Values.metrics.serviceMonitor.bearerTokenFile | default (.Values.metrics.auth | ternary "/var/run/secrets/dcred/token" "") }}
bearerTokenFile: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "dcred.checkScrape" -}}
{{- $monitor := .Values.metrics.serviceMonitor -}}
{{- if not .Values.metrics.port -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.port: set it to a port, such as 8080" -}}
{{- end -}}
{{- if and $monitor.bearerTokenFile $monitor.authorization -}}
{{- fail "metrics.serviceMonitor: set bearerTokenFile (a file in Prometheus' pods) or authorization (a Secret), not both" -}}
{{- end -}}
{{- end }}

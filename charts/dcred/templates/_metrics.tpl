{{/* How often Prometheus scrapes a component, and the token that it sends. */}}
{{- define "dcred.scrape" -}}
interval: {{ .Values.metrics.serviceMonitor.interval | quote }}
{{- with .Values.metrics.serviceMonitor.bearerTokenFile }}
bearerTokenFile: {{ . | quote }}
{{- end }}
{{- with .Values.metrics.serviceMonitor.authorization }}
authorization:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A scraper that every component refuses is no scraper: the alerts for absent metrics would fire for ever. */}}
{{- define "dcred.checkScrape" -}}
{{- $monitor := .Values.metrics.serviceMonitor -}}
{{- if not .Values.metrics.port -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.port: set it to a port, such as 8080" -}}
{{- end -}}
{{- if and $monitor.bearerTokenFile $monitor.authorization -}}
{{- fail "metrics.serviceMonitor: set bearerTokenFile (a file in Prometheus' pods) or authorization (a Secret), not both" -}}
{{- end -}}
{{- if and .Values.metrics.auth (not $monitor.bearerTokenFile) (not $monitor.authorization) -}}
{{- fail "metrics.serviceMonitor: with metrics.auth, Prometheus needs a token of the audience dcred-metrics: set bearerTokenFile (a file in Prometheus' pods) or authorization (a Secret), see docs/operations.md" -}}
{{- end -}}
{{- end }}

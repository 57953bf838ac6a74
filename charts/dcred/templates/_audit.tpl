{{- define "dcred.auditName" -}}
{{- include "dcred.fullname" . }}-audit
{{- end }}

{{- define "dcred.auditSelectorLabels" -}}
app.kubernetes.io/name: {{ include "dcred.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: audit
{{- end }}

{{- define "dcred.auditLabels" -}}
{{ include "dcred.labels" . }}
app.kubernetes.io/component: audit
{{- end }}

{{- define "dcred.auditServiceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "dcred.auditName" .) .Values.audit.serviceAccountName }}
{{- else -}}
{{- default "default" .Values.audit.serviceAccountName }}
{{- end }}
{{- end }}

{{/* The same rules go into a ClusterRole, or into a Role in each namespace. */}}
{{- define "dcred.auditRules" -}}
# The resources whose servers it audits.
- apiGroups: [dcred.dev]
  resources: [delegatedcredentials]
  verbs: [list]
# It writes the condition Serving.
- apiGroups: [dcred.dev]
  resources: [delegatedcredentials/status]
  verbs: [patch]
# Where to find the servers.
- apiGroups: ['']
  resources: [pods]
  verbs: [list]
# What they should serve. It requests metadata only; RBAC cannot grant less than whole Secrets.
- apiGroups: ['']
  resources: [secrets]
  verbs: [list]
# Events on pods with a finding; patch counts repeats.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

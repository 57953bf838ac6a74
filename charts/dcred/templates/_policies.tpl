{{/*
ValidatingAdmissionPolicy is part of every API server that this chart supports, unless it was switched off. `helm template` cannot
ask the API server, and then lists groups only, no kinds: the policies are rendered.
*/}}
{{- define "dcred.hasPolicies" -}}
{{- $isOffline := not (.Capabilities.APIVersions.Has "v1/Pod") -}}
{{- $isServed := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy" -}}
{{- if and .Values.admissionPolicies.enabled (or $isOffline $isServed) }}true{{ end }}
{{- end }}

{{/* Cluster-scoped, and a DNS name: no ":" as in the names of roles. */}}
{{- define "dcred.policyName" -}}
{{- printf "%s-%s.%s" (include "dcred.fullname" .root) .about .root.Release.Namespace }}
{{- end }}

{{- define "dcred.policyMatchConditions" -}}
# Nobody but dcred's own accounts is affected.
- name: dcred-accounts
  expression: >-
    request.userInfo.username in [{{ include "dcred.operatorUser" . }}{{ if .Values.webhook.enabled }}, {{ include "dcred.webhookUser" . }}{{ end }}{{ if .Values.signer.enabled }}, {{ include "dcred.signerUser" . }}{{ end }}{{ if .Values.audit.enabled }}, {{ include "dcred.auditUser" . }}{{ end }}{{ if .Values.issuer.enabled }}, {{ include "dcred.issuerUser" . }}{{ end }}]
{{- end }}

{{- define "dcred.operatorUser" -}}
'system:serviceaccount:{{ .Release.Namespace }}:{{ include "dcred.serviceAccountName" . }}'
{{- end }}

{{- define "dcred.webhookUser" -}}
'system:serviceaccount:{{ .Release.Namespace }}:{{ include "dcred.webhookServiceAccountName" . }}'
{{- end }}

{{- define "dcred.auditUser" -}}
'system:serviceaccount:{{ .Release.Namespace }}:{{ include "dcred.auditServiceAccountName" . }}'
{{- end }}

{{/* They may be one account: then it may do what any of them may. */}}
{{- define "dcred.policyVariables" -}}
- name: isOperator
  expression: request.userInfo.username == {{ include "dcred.operatorUser" . }}
- name: isWebhook
  expression: {{ if .Values.webhook.enabled }}request.userInfo.username == {{ include "dcred.webhookUser" . }}{{ else }}"false"{{ end }}
{{- end }}

{{/* Only for the policy that lets them write anything: elsewhere they are neither the operator nor the webhook. */}}
{{- define "dcred.reporterPolicyVariables" -}}
- name: isAudit
  expression: {{ if .Values.audit.enabled }}request.userInfo.username == {{ include "dcred.auditUser" . }}{{ else }}"false"{{ end }}
- name: isIssuer
  expression: {{ if .Values.issuer.enabled }}request.userInfo.username == {{ include "dcred.issuerUser" . }}{{ else }}"false"{{ end }}
{{- end }}

{{- define "dcred.policyBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "dcred.policyName" . | quote }}
  labels:
    {{- include "dcred.labels" .root | nindent 4 }}
spec:
  policyName: {{ include "dcred.policyName" . | quote }}
  validationActions: [Deny]
{{- end }}

{{- define "dcred.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimAll "-_." }}
{{- end }}

{{/* 63 characters, less the longest suffix: "-leader-election". A release's name may have dots, a label more than
that, a Service's name neither, nor may that begin with a digit before Kubernetes 1.36. */}}
{{- define "dcred.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := printf "%s-%s" .Release.Name $name -}}
{{- if .Values.fullnameOverride -}}
{{- $full = .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- $full = .Release.Name -}}
{{- end -}}
{{- $full = regexReplaceAll "[^a-z0-9]" (lower $full) "-" -}}
{{- regexReplaceAll "^[0-9]" $full "dcred-${0}" | trunc 47 | trimAll "-" }}
{{- end }}

{{/* For cluster-scoped objects: two releases with the same name in different namespaces must not share one. */}}
{{- define "dcred.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "dcred.fullname" .) }}
{{- end }}

{{/* Of the operator. Two releases in one namespace must not elect one leader between them: the other's namespaces would not be served. */}}
{{- define "dcred.leaseName" -}}
{{- $name := include "dcred.fullname" . -}}
dcred-operator{{ if ne $name "dcred" }}-{{ $name }}{{ end }}
{{- end }}

{{- define "dcred.issuerLeaseName" -}}
{{- $name := include "dcred.fullname" . -}}
dcred-issuer{{ if ne $name "dcred" }}-{{ $name }}{{ end }}
{{- end }}

{{- define "dcred.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dcred.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end }}

{{/* Of the pod of `helm test`. */}}
{{- define "dcred.testLabels" -}}
app.kubernetes.io/name: {{ include "dcred.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: test
{{- end }}

{{- define "dcred.labels" -}}
{{- $standard := dict
  "app.kubernetes.io/name" (include "dcred.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" "dcred"
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_")
-}}
{{- /* The component is written behind these, for the objects that have one. */ -}}
{{- toYaml (mergeOverwrite (omit (.Values.commonLabels | default dict) "app.kubernetes.io/component") $standard) }}
{{- end }}

{{- define "dcred.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "dcred.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "dcred.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* How the replicas of one Deployment are spread: `labels` are those that its selector matches. */}}
{{- define "dcred.spread" -}}
{{- $selector := dict "labelSelector" (dict "matchLabels" (fromYaml .labels)) }}
{{- $default := dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway" }}
{{- $constraints := list }}
{{- range .root.Values.topologySpreadConstraints | default (list $default) }}
{{- $constraints = append $constraints (hasKey . "labelSelector" | ternary . (merge (deepCopy .) $selector)) }}
{{- end }}
{{- toYaml $constraints }}
{{- end }}

{{/* A Kubernetes quantity in MiB, rounded down. */}}
{{- define "dcred.mebibytes" -}}
{{- $quantity := kindIs "string" . | ternary . (printf "%.0f" (float64 .)) -}}
{{- $number := regexFind "^[0-9.]+" $quantity | float64 -}}
{{- $units := dict "" 1.0 "k" 1000.0 "M" 1000000.0 "G" 1000000000.0 "T" 1000000000000.0
  "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 -}}
{{- $unit := regexReplaceAll "^[0-9.]+" $quantity "" -}}
{{- if not (hasKey $units $unit) -}}
{{- fail (printf "resources.limits.memory: expected a quantity such as 256Mi or 1Gi, got %q" $quantity) -}}
{{- end -}}
{{- divf (mulf $number (get $units $unit)) 1048576.0 | floor | int }}
{{- end }}

{{/*
Node's default heap size does not fit a container's limit: the process would be OOM-killed before it collects garbage. The old
generation gets half of the limit, or the limit less 256 MiB when that is more: memory outside the heap hardly grows with the fleet.
*/}}
{{- define "dcred.maxOldSpaceSize" -}}
{{- $limit := include "dcred.mebibytes" .Values.resources.limits.memory | int -}}
{{- max (div $limit 2) (sub $limit 256) }}
{{- end }}

{{/*
All that the operator may do in the namespaces that it serves. The same rules go into the ClusterRole, or into a Role in each
namespace.
*/}}
{{- define "dcred.operatorRules" -}}
# The resources it serves. It gets one by name before it deletes Secrets, because the cache may be stale.
- apiGroups: [dcred.dev]
  resources: [delegatedcredentials]
  verbs: [get, list, watch]
# It writes only their status.
- apiGroups: [dcred.dev]
  resources: [delegatedcredentials/status]
  verbs: [patch]
# Who may use the certificates of these namespaces. It gets a grant by name before each issue, because the cache may be stale.
- apiGroups: [dcred.dev]
  resources: [delegationgrants]
  verbs: [get, list, watch]
# It writes only their status.
- apiGroups: [dcred.dev]
  resources: [delegationgrants/status]
  verbs: [patch]
# The pods to serve. It gets a pod by name before it deletes the pod's Secret, because the cache may be stale.
- apiGroups: ['']
  resources: [pods]
  verbs: [get, list, watch]
{{- if or .Values.notifyPods (and .Values.webhook.enabled .Values.webhook.gatePods) }}
# It removes a pod's scheduling gate once its Secret exists (webhook.gatePods), and changes one annotation after a re-issue
# (notifyPods). RBAC has no narrower permission.
- apiGroups: ['']
  resources: [pods]
  verbs: [patch]
{{- end }}
# Certificate Secrets are read. Issued Secrets are watched, created, re-issued (update), relabelled (patch), and deleted when their pod
# is no longer selected. RBAC cannot tell one kind from the other.
- apiGroups: ['']
  resources: [secrets]
  verbs: [get, list, watch, create, update, patch, delete]
# Events for users; patch counts repeats.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* What each of dcred's pods needs where egress is restricted. */}}
{{- define "dcred.egressRules" -}}
# The API server.
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - port: {{ . }}
    {{- end }}
  {{- with .Values.networkPolicy.apiServerCidrs }}
  to:
    {{- range . }}
    - ipBlock:
        cidr: {{ . | quote }}
    {{- end }}
  {{- end }}
# DNS, for an API server addressed by name.
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end }}

{{/*
Who uses keys has an account of its own: whoever shares it could use them too. Each entry: the component's name, its account, and whether
it holds keys.
*/}}
{{- define "dcred.checkAccounts" -}}
{{- $accounts := list (list "operator" (include "dcred.serviceAccountName" .) false) -}}
{{- if .Values.webhook.enabled }}{{ $accounts = append $accounts (list "webhook" (include "dcred.webhookServiceAccountName" .) false) }}{{ end -}}
{{- if .Values.audit.enabled }}{{ $accounts = append $accounts (list "audit" (include "dcred.auditServiceAccountName" .) false) }}{{ end -}}
{{- if .Values.issuer.enabled }}{{ $accounts = append $accounts (list "issuer" (include "dcred.issuerServiceAccountName" .) true) }}{{ end -}}
{{- if .Values.signer.enabled }}{{ $accounts = append $accounts (list "signer" (include "dcred.signerServiceAccountName" .) true) }}{{ end -}}
{{- range $keeper := $accounts -}}
{{- range $other := $accounts -}}
{{- if and (last $keeper) (ne (first $keeper) (first $other)) (eq (index $keeper 1) (index $other 1)) -}}
{{- fail (printf "%s.serviceAccountName: %q is also the account of the %s, which could then use the %s's keys: set one that no other component has" (first $keeper) (index $keeper 1) (first $other) (first $keeper)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Each entry is a Role in its namespace: of two with one name, the later one takes the place of the other. */}}
{{- define "dcred.checkNamespacesOnce" -}}
{{- $seen := list -}}
{{- range .entries -}}
{{- if has .namespace $seen -}}
{{- fail (printf "%s: namespace %q has two entries: put all of its names into one" $.value .namespace) -}}
{{- end -}}
{{- $seen = append $seen .namespace -}}
{{- end -}}
{{- end }}

{{/* A port that two servers of one process have ends it at its start. */}}
{{- define "dcred.checkPorts" -}}
{{- range $component := list "webhook" "signer" -}}
{{- $given := get $.Values $component -}}
{{- if and $given.enabled (eq (int $given.port) (int $.Values.metrics.port)) -}}
{{- fail (printf "%s.port: %d is the port of metrics (metrics.port) too: set another" $component (int $given.port)) -}}
{{- end -}}
{{- end -}}
{{- end }}

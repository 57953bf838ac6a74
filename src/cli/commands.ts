/** Every command of `dcred`, in the order of its help. */

import { auditCommand } from './cluster/audit.ts';
import { bundleCommand } from './cluster/bundle.ts';
import { checkCommand } from './cluster/check.ts';
import { crdCommand } from './cluster/crd.ts';
import { eventsCommand } from './cluster/events.ts';
import { renewCommand } from './cluster/renew.ts';
import { statusCommand } from './cluster/status.ts';
import { resumeCommand, suspendCommand } from './cluster/suspend.ts';
import type { Command } from './command.ts';
import { completionCommand } from './completion/completion.ts';
import { csrCommand } from './credential/csr.ts';
import { devCaCommand } from './credential/dev-ca.ts';
import { issueCommand } from './credential/issue.ts';
import { probeCommand } from './credential/probe.ts';
import { verifyCommand } from './credential/verify.ts';
import { inspectCommand } from './inspect/inspect.ts';
import { agentCommand } from './services/agent.ts';
import { issuerCommand } from './services/issuer.ts';
import { operatorCommand } from './services/operator.ts';
import { signerCommand } from './services/signer.ts';
import { webhookCommand } from './services/webhook.ts';
import { versionCommand } from './version.ts';

export const COMMANDS: readonly Command[] = [
  operatorCommand,
  webhookCommand,
  signerCommand,
  issuerCommand,
  agentCommand,
  checkCommand,
  statusCommand,
  eventsCommand,
  bundleCommand,
  renewCommand,
  suspendCommand,
  resumeCommand,
  issueCommand,
  verifyCommand,
  inspectCommand,
  probeCommand,
  auditCommand,
  csrCommand,
  devCaCommand,
  crdCommand,
  completionCommand,
  versionCommand,
];

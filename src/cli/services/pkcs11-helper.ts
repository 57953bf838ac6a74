import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { CHANNEL_FD, HELPER_COMMAND } from '../../keys/pkcs11/helper-command.ts';
import { type Command, UsageError } from '../command.ts';

/** In no list of commands: dcred starts it by itself, with a channel to itself. */
export const pkcs11HelperCommand: Command = {
  name: HELPER_COMMAND,
  summary: 'use a PKCS#11 library in a process of its own',
  usage: HELPER_COMMAND,
  description:
    'Started by dcred itself for a pkcs11: key, so that the library cannot block or crash it. Not for use by hand.',
  example:
    'dcred issue --cert leaf.crt --key "pkcs11:token=vault;object=web?module-path=/usr/lib/softhsm/libsofthsm2.so"',
  options: {},

  async run() {
    if (!isSocket(CHANNEL_FD)) {
      throw new UsageError('dcred starts this command by itself: there is no channel to it');
    }
    const { serveHelper } = await import('../../keys/pkcs11/helper.ts');
    const isDone = await serveHelper(new Socket({ fd: CHANNEL_FD }));
    if (!isDone) process.kill(process.pid, 'SIGKILL');
    return 0;
  },
};

function isSocket(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isSocket();
  } catch {
    return false;
  }
}

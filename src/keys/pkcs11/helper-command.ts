/** How the PKCS#11 helper is started. By itself: every command of dcred knows these two, and loads nothing else of the helper. */

/** The helper is this program with this one argument. */
export const HELPER_COMMAND = 'pkcs11-helper';

/** The descriptor of the helper's end, a socket. Not its standard output: vendors' libraries print there. */
export const CHANNEL_FD = 3;

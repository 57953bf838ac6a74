/** Entry point: picks the command. */
export {};

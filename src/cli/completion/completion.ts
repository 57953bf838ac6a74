import { type Command, UsageError } from '../command.ts';
import { COMPLETE_COMMAND } from '../expected.ts';

/** As kubectl names the file that completes its plug-in `dcred`: https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/ */
export const KUBECTL_COMPLETION_FILE = 'kubectl_complete-dcred';

const scripts: Readonly<Record<string, string>> = {
  bash: bash(),
  zsh: zsh(),
  fish: fish(),
  kubectl: kubectlCompletion(),
};
const SHELLS = Object.keys(scripts);

export const completionCommand: Command = {
  name: 'completion',
  summary: 'print a completion script for bash, zsh, fish or kubectl',
  usage: 'completion bash|zsh|fish|kubectl',
  description:
    'Prints a script that completes commands, options, their values and names of the cluster, for the shell to read at its start. ' +
    'It runs dcred at each press of the tab key; names that the API server does not send within two seconds are not offered: set ' +
    'DCRED_COMPLETION_TIMEOUT=10s for a cluster that is far away. For ' +
    `"kubectl dcred", write the one for kubectl into a file ${KUBECTL_COMPLETION_FILE} on the PATH and make it executable; kubectl's ` +
    'own completion must be loaded.',
  example: 'source <(dcred completion bash)\ndcred completion kubectl',
  options: {},
  positionals: {
    min: 1,
    max: 1,
    complete: () => ({ kind: 'words', words: SHELLS.map((word) => ({ word })) }),
  },
  async run(args, io) {
    const [shell = ''] = args.positionals;
    const script = Object.hasOwn(scripts, shell) ? scripts[shell] : undefined;
    if (script === undefined) {
      throw new UsageError(`expected one of ${SHELLS.join(', ')}; got "${shell}"`);
    }
    io.stdout.write(script);
    return 0;
  },
};

/**
 * bash 3.2, which macOS has, knows no `compopt`: there, no candidate means files. bash replaces the word only from its last colon on, and
 * puts a candidate into the line as it is: one with a blank or a semicolon is quoted.
 */
function bash(): string {
  return `_dcred() {
  local line word directive=0 at=$COMP_CWORD before= current="\${COMP_WORDS[COMP_CWORD]}" program="\${COMP_WORDS[0]}"
  # The shell expands it only once the line is run.
  case "$program" in "~/"*) program="$HOME/\${program#??}" ;; esac
  while [ "$at" -gt 1 ]; do
    case "\${COMP_WORDS[at]}\${COMP_WORDS[at-1]}" in *:*) ;; *) break ;; esac
    [ -z "\${COMP_WORDS[at]//:/}" ] || [ -z "\${COMP_WORDS[at-1]//:/}" ] || break
    at=$((at - 1)) before="\${COMP_WORDS[at]}$before"
  done
  case "$current" in =) current= ;; :*) before="$before$current" ;; esac
  COMPREPLY=()
  while IFS= read -r line; do
    case "$line" in
      :*) directive="\${line#:}" ;;
      *) word="\${line%%$'\\t'*}"; printf -v word %q "\${word#"$before"}"; COMPREPLY+=("$word") ;;
    esac
  done < <("$program" ${COMPLETE_COMMAND} -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  if [ "$((directive & 16))" -ne 0 ]; then COMPREPLY=($(compgen -d -- "$current")); fi
  if [ "$((directive & 2))" -ne 0 ]; then compopt -o nospace 2>/dev/null; fi
  if [ "$((directive & 4))" -ne 0 ]; then compopt +o default 2>/dev/null; fi
  return 0
}
complete -o default -F _dcred dcred kubectl-dcred
`;
}

/** Shows descriptions; `_describe` takes a colon before them. */
function zsh(): string {
  return `#compdef dcred kubectl-dcred
_dcred() {
  emulate -L zsh
  setopt extendedglob
  local line directive=0
  local -a candidates suffix
  for line in "\${(@f)$(\${~words[1]} ${COMPLETE_COMMAND} -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
    case "$line" in
      :*) directive=\${line#:} ;;
      ?*) candidates+=("\${\${line//:/\\\\:}/$'\\t'/:}") ;;
    esac
  done
  compset -P '--[a-z-]##='
  (( directive & 2 )) && suffix=(-S '')
  if (( $#candidates )); then
    _describe -V 'dcred' candidates $suffix
  elif (( directive & 16 )); then
    _files -/
  elif (( ! (directive & 4) )); then
    _files
  fi
}
compdef _dcred dcred kubectl-dcred
`;
}

/** fish splits a line into words itself, shows descriptions, and compares candidates with the whole word. */
function fish(): string {
  return `function __dcred_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l prefix (string match -r -- '^--[a-z-]*=' "$current")
    set -l lines ($words[1] ${COMPLETE_COMMAND} -- $words[2..] "$current" 2>/dev/null)
    set -l directive (string replace ':' '' -- "$lines[-1]")
    if test (count $lines) -gt 1
        printf '%s\\n' "$prefix"$lines[1..-2]
    else if contains -- "$directive" 0 2
        __fish_complete_path "$current"
    else if test "$directive" = 16
        __fish_complete_directories "$current" ''
    end
end
complete -c dcred -f -a '(__dcred_complete)'
complete -c kubectl-dcred -f -a '(__dcred_complete)'
`;
}

/** What is in that file. */
export function kubectlCompletion(): string {
  return `#!/bin/sh
# What "kubectl dcred" completes to: kubectl runs the file ${KUBECTL_COMPLETION_FILE} on the PATH with the words typed so far.
exec kubectl-dcred ${COMPLETE_COMMAND} -- "$@"
`;
}

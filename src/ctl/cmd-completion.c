/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sonde completion SHELL: a script that asks `sonde __complete` (complete.c), which answers out of the table of commands and
 * from the server, so that no script can be behind.
 */
#include <string.h>

#include "ctl/cli.h"

/* Names are the server's: compgen -W would run what $(...) in them says, and so would the line, unquoted. */
static const char bash[] =
	"# sonde completion bash > /usr/share/bash-completion/completions/sonde\n"
	"_sonde() {\n"
	"\tlocal word cur=${COMP_WORDS[COMP_CWORD]}\n"
	"\tCOMPREPLY=()\n"
	"\twhile IFS= read -r word; do\n"
	"\t\tif [[ $word == :file ]]; then\n"
	"\t\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
	"\t\telse\n"
	"\t\t\tCOMPREPLY+=(\"$(printf '%q' \"$word\")\")\n"
	"\t\tfi\n"
	"\tdone < <(sonde __complete -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
	"}\n"
	"complete -F _sonde sonde kubectl-sonde\n";

static const char zsh[] =
	"#compdef sonde kubectl-sonde\n"
	"# sonde completion zsh > \"${fpath[1]}/_sonde\"\n"
	"_sonde() {\n"
	"\tlocal word\n"
	"\tlocal -a found\n"
	"\twhile IFS= read -r word; do\n"
	"\t\tfound+=(\"$word\")\n"
	"\tdone < <(sonde __complete -- \"${(@Q)words[2,CURRENT]}\" 2>/dev/null)\n"
	"\tif [[ ${found[1]} == :file ]]; then\n"
	"\t\t_files\n"
	"\telse\n"
	"\t\tcompadd -a found\n"
	"\tfi\n"
	"}\n"
	"if [[ ${funcstack[1]} == _sonde ]]; then\n"
	"\t_sonde \"$@\"\n"
	"else\n"
	"\tcompdef _sonde sonde kubectl-sonde\n"
	"fi\n";

static const char fish[] =
	"# sonde completion fish > ~/.config/fish/completions/sonde.fish\n"
	"function __sonde_complete\n"
	"\tset -l words (commandline -opc)\n"
	"\tset -l cur (commandline -ct)\n"
	"\tset -l found (sonde __complete -- $words[2..-1] \"$cur\" 2>/dev/null)\n"
	"\tif test \"$found[1]\" = :file\n"
	"\t\t__fish_complete_path \"$cur\"\n"
	"\telse if test (count $found) -gt 0\n"
	"\t\tprintf '%s\\n' $found\n"
	"\tend\n"
	"end\n"
	"complete -c sonde -f -a '(__sonde_complete)'\n"
	"complete -c kubectl-sonde -f -a '(__sonde_complete)'\n";

int sonde_cli_completion(struct sonde_cli *cli)
{
	static const struct {
		const char *shell, *script;
	} rows[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		if (strcmp(cli->operands[0], rows[i].shell) == 0) {
			(void)fputs(rows[i].script, cli->out);
			return SONDE_CLI_OK;
		}
	}
	return sonde_cli_fail(cli, SONDE_CLI_USAGE, "expected bash, zsh or fish, got '%s'",
			      cli->operands[0]);
}

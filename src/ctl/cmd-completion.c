/* SPDX-License-Identifier: Apache-2.0 */
/* sonde completion bash: a script out of the table of commands, so that it cannot be behind it. */
#include <string.h>

#include "ctl/cli.h"

/* What asks the server is short and silent: a completion must never hang a prompt. */
static const char head[] =
	"# sonde completion bash > /usr/share/bash-completion/completions/sonde\n"
	"_sonde_ask() { # LIST COMMAND: its first column\n"
	"\tsonde \"$@\" --no-headers --request-timeout 500ms 2>/dev/null | cut -d' ' -f1\n"
	"}\n"
	"_sonde() {\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=() word reply=''\n"
	"\tfor word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
	"\t\t[[ $word == -* ]] || words+=(\"$word\")\n"
	"\tdone\n"
	"\tcase $prev in\n"
	"\t-o | --output) COMPREPLY=($(compgen -W 'table wide json dot mermaid' -- \"$cur\")); return ;;\n"
	"\t--color) COMPREPLY=($(compgen -W 'auto always never' -- \"$cur\")); return ;;\n"
	"\t-p | --preset) COMPREPLY=($(compgen -W 'network network-calls udp' -- \"$cur\")); return ;;\n"
	"\t-f | --file | --config | --input | --ca | --cert | --key | --token-file | --basic-file | --templates | --rules) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
	"\tesac\n"
	"\tcase \"${words[*]:0:2} \" in\n";

/* Names are the server's: compgen -W would run what $(...) in them says, and so would the line, unquoted. */
static const char tail[] =
	"\tesac\n"
	"\t"
	"read -r -d '' -a words <<<\"$reply\"\n"
	"\tfor word in \"${words[@]}\"; do\n"
	"\t\t[[ $word != \"$cur\"* ]] || COMPREPLY+=(\"$(printf '%q' \"$word\")\")\n"
	"\tdone\n"
	"}\n"
	"complete -F _sonde sonde\n";

static void print_flags(FILE *out, const struct sonde_cli_flag *flags)
{
	for (; flags && flags->name; flags++)
		(void)fprintf(out, " --%s", flags->name);
}

/* The case of one command: its flags after a dash, else tasks or targets. */
static void print_case(FILE *out, const struct sonde_cli_command *c)
{
	(void)fprintf(out, "\t\"%s \"*)\n\t\tif [[ $cur == -* ]]; then\n\t\t\treply='", c->name);
	print_flags(out, c->flags);
	print_flags(out, sonde_cli_global_flags);
	(void)fprintf(out, "'\n");
	if (strstr(c->operands, "TASK"))
		(void)fprintf(out, "\t\telse\n\t\t\treply=$(_sonde_ask task list)\n");
	else if (strstr(c->operands, "TARGET"))
		(void)fprintf(out, "\t\telse\n\t\t\treply=$(_sonde_ask targets list)\n");
	else if (strstr(c->operands, "FILE"))
		(void)fprintf(out,
			      "\t\telse\n\t\t\tCOMPREPLY=($(compgen -f -- \"$cur\")); return\n");
	(void)fprintf(out, "\t\tfi ;;\n");
}

/* The second words of commands of two; the first words of all. */
static void print_words(FILE *out)
{
	const char *last = "";
	size_t last_len = 0;

	for (const struct sonde_cli_command *c = sonde_cli_commands; c->name; c++) {
		size_t n = strcspn(c->name, " ");

		if (!c->name[n] || (n == last_len && strncmp(c->name, last, n) == 0))
			continue;
		last = c->name;
		last_len = n;
		(void)fprintf(out, "\t\"%.*s \"*) reply='", (int)n, c->name);
		for (const struct sonde_cli_command *d = sonde_cli_commands; d->name; d++) {
			if (strncmp(d->name, c->name, n + 1) == 0)
				(void)fprintf(out, " %s", d->name + n + 1);
		}
		(void)fprintf(out, "' ;;\n");
	}
	(void)fprintf(out, "\t*) reply='");
	for (const struct sonde_cli_command *c = sonde_cli_commands; c->name; c++)
		(void)fprintf(out, " %.*s", (int)strcspn(c->name, " "), c->name);
	(void)fprintf(out, "' ;;\n");
}

int sonde_cli_completion(struct sonde_cli *cli)
{
	if (strcmp(cli->operands[0], "bash") != 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "expected bash, got '%s'",
				      cli->operands[0]);
	(void)fputs(head, cli->out);
	for (const struct sonde_cli_command *c = sonde_cli_commands; c->name; c++)
		print_case(cli->out, c);
	print_words(cli->out);
	(void)fputs(tail, cli->out);
	return SONDE_CLI_OK;
}

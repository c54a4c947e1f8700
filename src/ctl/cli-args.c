/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/cli-args.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "config/hint.h"

const char *sonde_cli_flag(const struct sonde_cli *cli, const char *name)
{
	for (size_t i = cli->n_given; i-- > 0;) {
		if (strcmp(cli->given[i].flag->name, name) == 0)
			return cli->given[i].value;
	}
	return NULL;
}

static const struct sonde_cli_flag *find_in(const struct sonde_cli_flag *flags, const char *name,
					    size_t len)
{
	for (; flags && flags->name; flags++) {
		if (strlen(flags->name) == len && strncmp(flags->name, name, len) == 0)
			return flags;
	}
	return NULL;
}

static const struct sonde_cli_flag *letter_in(const struct sonde_cli_flag *flags, char letter)
{
	for (; flags && flags->name; flags++) {
		if (flags->letter == letter)
			return flags;
	}
	return NULL;
}

/* The words of the command's name that @words start with: 1, 2, or 0. */
static size_t matched_words(const char *name, const char *const *words, size_t n_words)
{
	const char *space = strchr(name, ' ');
	size_t first = space ? (size_t)(space - name) : strlen(name);

	if (n_words == 0 || strlen(words[0]) != first || strncmp(words[0], name, first) != 0)
		return 0;
	if (!space)
		return 1;
	return n_words > 1 && strcmp(words[1], space + 1) == 0 ? 2 : 0;
}

static bool is_global_flag(const char *arg)
{
	if (arg[1] != '-')
		return letter_in(sonde_cli_global_flags, arg[1]);
	return !arg[2] || find_in(sonde_cli_global_flags, arg + 2, strcspn(arg + 2, "="));
}

/*
 * The first one or two words that are no flag. A flag before them must be global to be skipped right: @ret_odd is the
 * first that is not, or NULL.
 */
static const struct sonde_cli_command *find_command(int argc, char *const *argv, const char **words,
						    size_t *ret_n, const char **ret_odd)
{
	const char *odd = NULL;
	size_t n = 0;

	for (int i = 1; i < argc && n < 2; i++) {
		const struct sonde_cli_flag *flag = NULL;

		if (argv[i][0] != '-' || !argv[i][1]) {
			words[n++] = argv[i];
			continue;
		}
		if (argv[i][1] != '-' && !argv[i][2])
			flag = letter_in(sonde_cli_global_flags, argv[i][1]);
		else if (argv[i][1] == '-')
			flag = find_in(sonde_cli_global_flags, argv[i] + 2, strlen(argv[i] + 2));
		if (n == 0 && !odd && !is_global_flag(argv[i]))
			odd = argv[i];
		if (flag && flag->arg)
			i++;
	}
	*ret_n = n;
	*ret_odd = odd;
	for (const struct sonde_cli_command *c = sonde_cli_commands; c->name; c++) {
		if (matched_words(c->name, words, n) > 0)
			return c;
	}
	return NULL;
}

/* The first word of a command of two words: "task". False: it has one word. */
static bool group_of(const struct sonde_cli_command *c, char group[static SONDE_HINT_WORD_MAX + 1])
{
	size_t n = strcspn(c->name, " ");

	(void)snprintf(group, SONDE_HINT_WORD_MAX + 1, "%.*s", (int)n, c->name);
	return c->name[n] != '\0';
}

/* "create, list, get"; false: @word is no group. */
static bool list_group(const char *word, char *ret, size_t size)
{
	char group[SONDE_HINT_WORD_MAX + 1];
	size_t n = 0;

	for (const struct sonde_cli_command *c = sonde_cli_commands; c->name && n < size; c++) {
		if (group_of(c, group) && strcmp(group, word) == 0)
			n += (size_t)snprintf(ret + n, size - n, "%s%s", n > 0 ? ", " : "",
					      strchr(c->name, ' ') + 1);
	}
	return n > 0;
}

/* The command that may have been meant, else the group; "" if none is near. */
static void near_command(const char *said, const char *word,
			 char ret[static SONDE_HINT_WORD_MAX + 1])
{
	char group[SONDE_HINT_WORD_MAX + 1];
	size_t best = SIZE_MAX;

	ret[0] = '\0';
	for (const struct sonde_cli_command *c = sonde_cli_commands; c->name; c++) {
		if (sonde_hint_near(strchr(c->name, ' ') ? said : word, c->name, &best))
			(void)snprintf(ret, SONDE_HINT_WORD_MAX + 1, "%s", c->name);
	}
	if (ret[0])
		return;
	for (const struct sonde_cli_command *c = sonde_cli_commands; c->name; c++) {
		if (group_of(c, group) && strcmp(word, group) != 0 &&
		    sonde_hint_near(word, group, &best))
			(void)snprintf(ret, SONDE_HINT_WORD_MAX + 1, "%s", group);
	}
}

/* The word behind it is its value, and no command. */
static int no_global_flag(struct sonde_cli *cli, const char *arg)
{
	const int len = (int)strcspn(arg, "=");

	if (strncmp(arg, "--token-file", (size_t)len) == 0 && len == (int)strlen("--token-file"))
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--token-file is no global flag: set the variable "
				      "SONDE_TOKEN_FILE, or `token_file` in "
				      "~/.config/sonde/config.yaml");
	return sonde_cli_fail(
		cli, SONDE_CLI_USAGE,
		"%.*s is no global flag: it goes behind the command; see sonde --help",
		len > SONDE_HINT_WORD_MAX ? SONDE_HINT_WORD_MAX : len, arg);
}

static int no_such_command(struct sonde_cli *cli, const char *const *words, size_t n)
{
	char said[2 * SONDE_HINT_WORD_MAX + 2], near[SONDE_HINT_WORD_MAX + 1], others[256];

	(void)snprintf(said, sizeof(said), "%.64s%s%.64s", words[0], n > 1 ? " " : "",
		       n > 1 ? words[1] : "");
	near_command(said, words[0], near);
	if (near[0])
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "'%s' is no command; did you mean '%s'?", said, near);
	if (list_group(words[0], others, sizeof(others)))
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "'%s' is no command; behind '%s' expected: %s", said,
				      words[0], others);
	return sonde_cli_fail(cli, SONDE_CLI_USAGE, "'%s' is no command; sonde --help lists them",
			      said);
}

/* Of a secret, which has none: `ps` shows flags to everyone. */
static bool is_token(const char *arg)
{
	return strcmp(arg, "--token") == 0 || strncmp(arg, "--token=", 8) == 0;
}

static int no_token_flag(struct sonde_cli *cli)
{
	return sonde_cli_fail(
		cli, SONDE_CLI_USAGE,
		"--token: a secret has no flag (`ps` would show it): set the variable "
		"SONDE_TOKEN, or `token` in ~/.config/sonde/config.yaml");
}

static int no_such_flag(struct sonde_cli *cli, const char *name, size_t len)
{
	const struct sonde_cli_flag *const tables[] = {cli->command->flags, sonde_cli_global_flags};
	char word[SONDE_HINT_WORD_MAX + 1];
	const char *near = NULL;
	size_t best = SIZE_MAX;

	(void)snprintf(word, sizeof(word), "%.*s", (int)(len > SONDE_HINT_WORD_MAX ? 0 : len),
		       name);
	for (size_t t = 0; t < ELEMENTS_OF(tables); t++) {
		for (const struct sonde_cli_flag *f = tables[t]; f && f->name; f++) {
			if (sonde_hint_near(word, f->name, &best))
				near = f->name;
		}
	}
	if (near)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--%s is no flag of '%s'; did you mean --%s?", word,
				      cli->command->name, near);
	return sonde_cli_fail(cli, SONDE_CLI_USAGE,
			      "--%.*s is no flag of '%s'; see sonde %s --help", (int)len, name,
			      cli->command->name, cli->command->name);
}

static int give(struct sonde_cli *cli, const struct sonde_cli_flag *flag, const char *value)
{
	if (cli->n_given == SONDE_CLI_FLAGS_MAX)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "more than %d flags",
				      SONDE_CLI_FLAGS_MAX);
	cli->given[cli->n_given++] = (struct sonde_cli_given){flag, value};
	return 0;
}

/* "--name", "--name=value", "--name value", "-o value", "-ovalue". */
static int parse_flag(struct sonde_cli *cli, int argc, char *const *argv, int *i)
{
	const struct sonde_cli_flag *flag;
	const char *value = NULL, *arg = argv[*i];
	char shown[SONDE_HINT_WORD_MAX + 4];

	if (arg[1] == '-') {
		size_t len = strcspn(arg + 2, "=");

		flag = find_in(cli->command->flags, arg + 2, len);
		if (!flag)
			flag = find_in(sonde_cli_global_flags, arg + 2, len);
		if (!flag)
			return no_such_flag(cli, arg + 2, len);
		if (arg[2 + len] == '=')
			value = arg + 2 + len + 1;
	} else {
		flag = letter_in(cli->command->flags, arg[1]);
		if (!flag)
			flag = letter_in(sonde_cli_global_flags, arg[1]);
		if (!flag)
			return sonde_cli_fail(cli, SONDE_CLI_USAGE,
					      "-%c is no flag of '%s'; see sonde %s --help", arg[1],
					      cli->command->name, cli->command->name);
		if (arg[2])
			value = arg + 2;
	}
	(void)snprintf(shown, sizeof(shown), "--%s", flag->name);
	if (!flag->arg && value)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s takes no value", shown);
	if (flag->arg && !value) {
		if (*i + 1 >= argc)
			return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s: expected %s behind it",
					      shown, flag->arg);
		value = argv[++*i];
	}
	return give(cli, flag, value ? value : "");
}

static int check_operands(struct sonde_cli *cli)
{
	const struct sonde_cli_command *c = cli->command;

	if (sonde_cli_flag(cli, "help") || sonde_cli_flag(cli, "version"))
		return 0;
	if (cli->n_operands < c->min_operands)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "usage: sonde %s %s", c->name,
				      c->operands);
	if (cli->n_operands > c->max_operands)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "'%s' is one too many; usage: sonde %s %s",
				      cli->operands[c->max_operands], c->name, c->operands);
	return 0;
}

static bool has_word(int argc, char *const *argv, const char *word, const char *letter)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], word) == 0 || strcmp(argv[i], letter) == 0)
			return true;
	}
	return false;
}

static const struct sonde_cli_command *version_command(void)
{
	const struct sonde_cli_command *c = sonde_cli_commands;

	while (c->run != sonde_cli_version)
		c++;
	return c;
}

/* What to type, for who typed nothing; --help has the rest. */
static void short_help(FILE *out)
{
	const char *before = "";

	(void)fprintf(out, "Usage: sonde COMMAND [FLAG]...\nCommands: ");
	for (const struct sonde_cli_command *c = sonde_cli_commands; c->name; c++) {
		if (sonde_cli_is_hidden(c))
			continue;
		(void)fprintf(out, "%s%s", before, c->name);
		before = ", ";
	}
	(void)fprintf(out, "\nTo begin with: sonde targets list; sonde run --duration 30s pid:N. "
			   "All of it: sonde --help\n");
}

int sonde_cli_parse(struct sonde_cli *cli, int argc, char *const *argv)
{
	const char *words[2], *odd;
	size_t n_words, skip;
	bool flags_end = false;
	int r;

	assert(cli && argv);

	/* before it makes the word behind it look like the command */
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (is_token(argv[i]))
			return no_token_flag(cli);
	}
	cli->command = find_command(argc, argv, words, &n_words, &odd);
	if (!cli->command) {
		if (has_word(argc, argv, "--help", "-h") ||
		    (n_words == 1 && strcmp(words[0], "help") == 0))
			return 0;
		if (n_words > 0)
			return odd ? no_global_flag(cli, odd)
				   : no_such_command(cli, words, n_words);
		if (!has_word(argc, argv, "--version", "-V")) {
			short_help(cli->err);
			return SONDE_CLI_USAGE;
		}
		cli->command = version_command();
	}
	skip = matched_words(cli->command->name, words, n_words);
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];

		if (!flags_end && strcmp(arg, "--") == 0) {
			flags_end = true;
		} else if (!flags_end && arg[0] == '-' && arg[1]) {
			r = parse_flag(cli, argc, argv, &i);
			if (r != 0)
				return r;
		} else if (skip > 0) {
			skip--;
		} else if (cli->n_operands == SONDE_CLI_OPERANDS_MAX) {
			return sonde_cli_fail(cli, SONDE_CLI_USAGE, "more than %d arguments",
					      SONDE_CLI_OPERANDS_MAX);
		} else {
			cli->operands[cli->n_operands++] = arg;
		}
	}
	return check_operands(cli);
}

static void help_flags(const struct sonde_cli_flag *flags, FILE *out)
{
	for (; flags && flags->name; flags++) {
		char left[64];

		(void)snprintf(left, sizeof(left), "%s%c%s--%s%s%s", flags->letter ? "-" : " ",
			       flags->letter ? flags->letter : ' ', flags->letter ? ", " : "  ",
			       flags->name, flags->arg ? " " : "", flags->arg ? flags->arg : "");
		(void)fprintf(out, "  %-28s %s\n", left, flags->help);
	}
}

static void help_command(const struct sonde_cli_command *command, FILE *out)
{
	(void)fprintf(out, "Usage: sonde %s%s%s [FLAG]...\n\n%c%s.\n", command->name,
		      *command->operands ? " " : "", command->operands,
		      toupper((unsigned char)command->summary[0]), command->summary + 1);
	if (strstr(command->operands, "TARGET"))
		(void)fprintf(
			out,
			"\nTARGET is pid:N (or N), process:NAME, service:NAME, id:PROCESS-ID, or "
			"a bare service or\nprocess name. `sonde targets list` shows them.\n");
	if (command->flags) {
		(void)fprintf(out, "\nFlags:\n");
		help_flags(command->flags, out);
	}
	(void)fprintf(out, "\nGlobal flags:\n");
	help_flags(sonde_cli_global_flags, out);
}

void sonde_cli_help(const struct sonde_cli_command *command, FILE *out)
{
	if (command) {
		help_command(command, out);
		return;
	}
	(void)fprintf(out, "Usage: sonde COMMAND [FLAG]...\n\n"
			   "What is the network doing to this process, right now?\n\nCommands:\n");
	for (const struct sonde_cli_command *c = sonde_cli_commands; c->name; c++) {
		char left[64];

		if (sonde_cli_is_hidden(c))
			continue;
		(void)snprintf(left, sizeof(left), "%s %s", c->name, c->operands);
		(void)fprintf(out, "  %-28s %s\n", left, c->summary);
	}
	(void)fprintf(out, "\nGlobal flags:\n");
	help_flags(sonde_cli_global_flags, out);
	(void)fprintf(
		out,
		"\nExit status: 0 done, 1 the answer is no, 2 usage, 3 not found, 4 refused by "
		"backend or agent,\n5 backend not reached, 6 timed out, 7 lost more than "
		"--max-loss, 8 privilege or kernel lacks a\nfeature, 9 internal, 130 and 143 "
		"signals. Settings: ~/.config/sonde/config.yaml < SONDE_* < flags.\n");
}

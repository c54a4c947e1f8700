/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sonde __complete WORD...: what the shells' scripts ask (cmd-completion.c). The last WORD is what has begun; an answer a
 * line, or ":file" for the shell's own files. Short and silent: a completion must never hang a prompt.
 */
#include <ctype.h>
#include <dirent.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/cli-args.h"
#include "ctl/fetch.h"
#include "ctl/output.h"
#include "ctl/settings.h"
#include "ctl/spec.h"
#include "ctl/term.h"

#define ANSWER_NS (500 * SONDE_NS_PER_MS)

struct completion {
	struct sonde_cli *cli;
	const struct sonde_cli_command *command; /* NULL: not known yet */
	const char *first;			 /* word of a command, NULL = none yet */
	const struct sonde_cli_flag *open;	 /* the flag that the last word is the value of */
	const char *operands[SONDE_CLI_OPERANDS_MAX];
	size_t n_operands;
	const char *cur;
	json_t *told; /* each once; owned */
};

/* A name that could steer a terminal, or be more than one word in a list of lines, is no help. */
static bool is_safe(const char *text)
{
	_cleanup_buf_ struct sonde_buf safe = SONDE_BUF_INIT(4096);

	return sonde_term_escape(text, strlen(text), &safe) == 0 &&
	       strcmp(sonde_buf_str(&safe), text) == 0;
}

static void offer(struct completion *c, const char *text)
{
	if (!text || !*text || strncmp(text, c->cur, strlen(c->cur)) != 0 ||
	    json_object_get(c->told, text) || !is_safe(text))
		return;
	(void)json_object_set_new_nocheck(c->told, text, json_true());
	(void)fprintf(c->cli->out, "%s\n", text);
}

static void offer_words(struct completion *c, const char *words)
{
	char word[64];

	while (*words) {
		size_t n = strcspn(words, " ");

		(void)snprintf(word, sizeof(word), "%.*s", (int)n, words);
		offer(c, word);
		words += n;
		words += strspn(words, " ");
	}
}

static void offer_files(struct completion *c)
{
	(void)fputs(":file\n", c->cli->out);
}

/* --- what the server knows --- */

static void offer_list(struct completion *c, const char *path, const char *items,
		       const char *const *keys)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	const json_t *list;

	if (!c->cli->rest || sonde_rest_request(c->cli->rest, path, NULL, &answer) < 0 ||
	    answer.status != 200)
		return;
	list = json_object_get(answer.json, items);
	for (size_t i = 0; i < json_array_size(list); i++) {
		for (size_t k = 0; keys[k]; k++)
			offer(c,
			      json_string_value(json_object_get(json_array_get(list, i), keys[k])));
	}
}

static void offer_tasks(struct completion *c)
{
	offer_list(c, "/api/v1/tasks", "tasks", (const char *const[]){"id", NULL});
}

static void offer_targets(struct completion *c)
{
	offer_list(c, "/api/v1/targets", "targets",
		   (const char *const[]){"service", "process", NULL});
}

static void offer_services(struct completion *c)
{
	offer_list(c, "/api/v1/targets", "targets", (const char *const[]){"service", NULL});
}

static void offer_hosts(struct completion *c)
{
	offer_list(c, "/api/v1/targets", "targets", (const char *const[]){"host", NULL});
}

static void offer_agents(struct completion *c)
{
	offer_list(c, "/api/v1/agents", "agents", (const char *const[]){"agent_id", NULL});
}

static void offer_edges(struct completion *c)
{
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(4096);

	if (c->n_operands > 0 && sonde_cli_task_path(c->operands[0], "/topology", &path) == 0)
		offer_list(c, sonde_buf_str(&path), "edges", (const char *const[]){"id", NULL});
}

/* --- what is here --- */

static void offer_presets_of(struct completion *c, const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char name[128];
		size_t n = strlen(entry->d_name);

		if (n < 6 || n >= sizeof(name) || strcmp(entry->d_name + n - 5, ".yaml") != 0)
			continue;
		(void)snprintf(name, sizeof(name), "%.*s", (int)n - 5, entry->d_name);
		offer(c, name);
	}
	if (dir)
		(void)closedir(dir);
}

static void offer_presets(struct completion *c)
{
	char *dirs[3] = {NULL};

	if (sonde_cli_preset_dirs(c->cli, dirs) == 0) {
		for (size_t i = 0; dirs[i]; i++)
			offer_presets_of(c, dirs[i]);
	}
	for (size_t i = 0; i < ELEMENTS_OF(dirs); i++)
		free(dirs[i]);
}

static void offer_contexts(struct completion *c)
{
	for (size_t i = 0; i < c->cli->settings->n_contexts; i++)
		offer(c, c->cli->settings->contexts[i].name);
}

static void offer_keys(struct completion *c)
{
	for (const struct sonde_option *o = sonde_cli_spec.options; o->key; o++) {
		if (o->type != SONDE_OPTION_TYPE_LIST && !(o->flags & SONDE_OPTION_SECRET))
			offer(c, o->key);
	}
}

static void offer_flags(struct completion *c, const struct sonde_cli_flag *flags)
{
	char name[64];

	for (; flags && flags->name; flags++) {
		(void)snprintf(name, sizeof(name), "--%s", flags->name);
		offer(c, name);
	}
}

static void offer_forms(struct completion *c)
{
	for (size_t i = 0; sonde_cli_form_names[i]; i++)
		offer(c, i == SONDE_CLI_FORM_JSONPATH ? "jsonpath=" : sonde_cli_form_names[i]);
}

/* --- what is wanted --- */

/* By the name that --help has for an operand or a flag's value: "TASK", "FILE". False: it is none of these. */
static bool offer_named(struct completion *c, const char *name, size_t len)
{
	static const struct {
		const char *name;
		void (*offer)(struct completion *c);
	} rows[] = {
		{"TASK", offer_tasks},	     {"A", offer_tasks},	  {"B", offer_tasks},
		{"TARGET", offer_targets},   {"SERVICE", offer_services}, {"AGENT", offer_agents},
		{"HOST", offer_hosts},	     {"EDGE", offer_edges},	  {"FILE", offer_files},
		{"DIR", offer_files},	     {"PATH", offer_files},	  {"SAMPLES", offer_files},
		{"CONTEXT", offer_contexts}, {"FORMAT", offer_forms},	  {"KEY", offer_keys},
	};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		if (strlen(rows[i].name) == len && strncmp(rows[i].name, name, len) == 0) {
			rows[i].offer(c);
			return true;
		}
	}
	return false;
}

/* Flags of which --help does not tell enough. @flag may be of any command: but for --by one name means one thing. */
static bool offer_value_of(struct completion *c, const char *flag)
{
	static const struct {
		const char *flag, *words, *command; /* NULL = any */
	} words[] = {
		{"by", "process instance workload service node ip", "topology"},
		{"by", "reason class direction edge location", "drops"},
		{"color", "auto always never"},
		{"for", "running first-data failed done"},
		{"role", "client server"},
		{"side", "client server"},
		{"sort", "bytes retransmits rtt start"},
		{"state", "open ended failed"},
		{"step", "10s 1m 1h"},
	};

	if (strcmp(flag, "preset") == 0)
		offer_presets(c);
	else if (strcmp(flag, "agent") == 0)
		offer_agents(c);
	else if (strcmp(flag, "context") == 0)
		offer_contexts(c);
	else {
		for (size_t i = 0; i < ELEMENTS_OF(words); i++) {
			if (strcmp(flag, words[i].flag) == 0 &&
			    (!words[i].command ||
			     (c->command && strcmp(c->command->name, words[i].command) == 0))) {
				offer_words(c, words[i].words);
				return true;
			}
		}
		return false;
	}
	return true;
}

/* The name of operand @n in "TASK [EDGE]", "TARGET..."; "" = there is none. */
static const char *operand_name(const char *operands, size_t n, size_t *ret_len)
{
	for (;;) {
		const char *name = operands + strspn(operands, " [");
		size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-");

		*ret_len = len;
		/* "..." is of the one before it */
		if (len == 0 || n == 0 || strncmp(name + len, "...", 3) == 0)
			return name;
		operands = name + len + strspn(name + len, "]");
		n--;
	}
}

static void offer_operand(struct completion *c)
{
	size_t len;
	const char *name = operand_name(c->command->operands, c->n_operands, &len);

	if (len == 4 && strncmp(name, "KIND", 4) == 0)
		offer_words(c, "processes hosts services");
	else if (len == 5 && strncmp(name, "SHELL", 5) == 0)
		offer_words(c, "bash zsh fish");
	else
		(void)offer_named(c, name, len);
}

static void offer_commands(struct completion *c)
{
	size_t n = c->first ? strlen(c->first) : 0;

	for (const struct sonde_cli_command *k = sonde_cli_commands; k->name; k++) {
		char word[64];

		if (sonde_cli_is_hidden(k))
			continue;
		if (!c->first) {
			(void)snprintf(word, sizeof(word), "%.*s", (int)strcspn(k->name, " "),
				       k->name);
			offer(c, word);
		} else if (strncmp(k->name, c->first, n) == 0 && k->name[n] == ' ') {
			offer(c, k->name + n + 1);
		}
	}
}

/* --- what has been written --- */

static const struct sonde_cli_flag *find_flag(const struct sonde_cli_flag *flags, const char *word)
{
	for (; flags && flags->name; flags++) {
		if (word[1] == '-' ? strcmp(word + 2, flags->name) == 0
				   : word[1] && word[1] == flags->letter && !word[2])
			return flags;
	}
	return NULL;
}

static const struct sonde_cli_command *find_command(const char *first, const char *second)
{
	for (const struct sonde_cli_command *k = sonde_cli_commands; k->name; k++) {
		size_t n = strcspn(k->name, " ");

		if (strlen(first) != n || strncmp(first, k->name, n) != 0)
			continue;
		if (!k->name[n] || (second && strcmp(second, k->name + n + 1) == 0))
			return k;
	}
	return NULL;
}

static void read_flag(struct completion *c, const char *word)
{
	const struct sonde_cli_flag *flag = NULL;

	if (c->command)
		flag = find_flag(c->command->flags, word);
	if (!flag)
		flag = find_flag(sonde_cli_global_flags, word);
	c->open = flag && flag->arg ? flag : NULL; /* "--name=value" is no flag's name */
}

static void read_word(struct completion *c, const char *word)
{
	if (c->open) {
		c->open = NULL;
	} else if (word[0] == '-' && word[1]) {
		read_flag(c, word);
	} else if (c->command) {
		c->operands[c->n_operands++] = word;
	} else if (!c->first) {
		c->first = word;
		c->command = find_command(word, NULL);
	} else {
		c->command = find_command(c->first, word);
	}
}

/* Without the server's answer there is still the rest. */
static void open_server(struct sonde_cli *cli)
{
	FILE *err = cli->err;

	cli->err = fopen("/dev/null", "we");
	if (cli->err && sonde_settings_open_server(cli) != 0)
		cli->rest = sonde_rest_free(cli->rest);
	if (cli->err)
		(void)fclose(cli->err);
	cli->err = err;
}

int sonde_cli_complete(struct sonde_cli *cli)
{
	struct completion c = {.cli = cli, .cur = "", .told = json_object()};

	if (!c.told)
		return SONDE_CLI_INTERNAL;
	cli->settings->request_timeout_ns = ANSWER_NS;
	open_server(cli);
	for (size_t i = 0; i + 1 < cli->n_operands; i++)
		read_word(&c, cli->operands[i]);
	if (cli->n_operands > 0)
		c.cur = cli->operands[cli->n_operands - 1];
	if (c.open) {
		if (!offer_value_of(&c, c.open->name))
			(void)offer_named(&c, c.open->arg, strlen(c.open->arg));
	} else if (c.cur[0] == '-') {
		offer_flags(&c, c.command ? c.command->flags : NULL);
		offer_flags(&c, sonde_cli_global_flags);
	} else if (c.command) {
		offer_operand(&c);
	} else {
		offer_commands(&c);
	}
	json_decref(c.told);
	return SONDE_CLI_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The table as text: the effective values, --help, the reference page. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "config/option.h"

#define HELP_WIDTH 96
#define HELP_COLUMN 34

/* Bytes of @words without a full stop at their end. */
static int sentence(const char *words)
{
	size_t n = strlen(words);

	return (int)(n > 0 && words[n - 1] == '.' ? n - 1 : n);
}

static int finished(FILE *out)
{
	return fflush(out) != 0 || ferror(out) ? -EIO : 0;
}

static void indent(FILE *out, unsigned int level)
{
	(void)fprintf(out, "%*s", (int)(level * 2), "");
}

/* Is @o the first row of @table whose key starts with @n bytes of @o's? */
static bool first_of_section(const struct sonde_option *table, const struct sonde_option *o,
			     size_t n)
{
	for (const struct sonde_option *e = table; e < o; e++) {
		if (strncmp(e->key, o->key, n) == 0)
			return false;
	}
	return true;
}

static int dump_table(const struct sonde_option *table, const void *base, unsigned int level,
		      bool in_list, FILE *out);

static int dump_list(const struct sonde_option *o, const char *name, const void *base,
		     unsigned int level, FILE *out)
{
	size_t n = sonde_option_count(o, base);
	int r = 0;

	(void)fprintf(out, "%s:%s\n", name, n == 0 ? " []" : "");
	for (size_t i = 0; r == 0 && i < n; i++) {
		indent(out, level + 1);
		(void)fprintf(out, "- ");
		r = dump_table(o->element, sonde_option_element(o, base, i), level + 2, true, out);
	}
	return r;
}

static int dump_row(const struct sonde_option *o, const char *name, const void *base,
		    unsigned int level, FILE *out)
{
	_cleanup_buf_ struct sonde_buf value = SONDE_BUF_INIT(SONDE_OPTION_VALUE_MAX * 4);
	int r;

	if (o->type == SONDE_OPTION_TYPE_LIST)
		return dump_list(o, name, base, level, out);
	r = sonde_option_print(o, base, &value);
	if (r < 0)
		return r;
	(void)fprintf(out, "%s: %s\n", name, sonde_buf_str(&value));
	return 0;
}

/* The rows whose keys start with the first @prefix_len bytes of @lead's, nested by their dots. */
static int dump_section(const struct sonde_option *table, const struct sonde_option *lead,
			size_t prefix_len, const void *base, unsigned int level, bool inline_first,
			FILE *out)
{
	for (const struct sonde_option *o = lead; o->key; o++) {
		const char *dot;
		int r;

		if (strncmp(o->key, lead->key, prefix_len) != 0)
			continue;
		dot = strchr(o->key + prefix_len, '.');
		if (dot && !first_of_section(table, o, (size_t)(dot - o->key) + 1))
			continue;
		if (!inline_first)
			indent(out, level);
		inline_first = false;
		if (dot) {
			size_t n = (size_t)(dot - o->key) - prefix_len;

			(void)fprintf(out, "%.*s:\n", (int)n, o->key + prefix_len);
			r = dump_section(table, o, prefix_len + n + 1, base, level + 1, false, out);
		} else {
			r = dump_row(o, o->key + prefix_len, base, level, out);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int dump_table(const struct sonde_option *table, const void *base, unsigned int level,
		      bool in_list, FILE *out)
{
	return table->key ? dump_section(table, table, 0, base, level, in_list, out) : 0;
}

int sonde_config_dump(const struct sonde_config_spec *spec, const void *config, FILE *out)
{
	int r;

	r = dump_table(spec->options, config, 0, false, out);
	return r < 0 ? r : finished(out);
}

/* Writes @words from column HELP_COLUMN on, the first line going on behind @used columns. */
static void wrap(const char *words, size_t used, FILE *out)
{
	size_t column = used;

	if (used >= HELP_COLUMN - 1) {
		(void)fprintf(out, "\n");
		column = 0;
	}
	(void)fprintf(out, "%*s", (int)(HELP_COLUMN - column), "");
	column = HELP_COLUMN;
	while (*words) {
		size_t n = strcspn(words, " ");

		if (column > HELP_COLUMN && column + 1 + n > HELP_WIDTH) {
			(void)fprintf(out, "\n%*s", HELP_COLUMN, "");
			column = HELP_COLUMN;
		}
		column += (size_t)fprintf(out, "%s%.*s", column > HELP_COLUMN ? " " : "", (int)n,
					  words);
		words += n;
		words += strspn(words, " ");
	}
	(void)fprintf(out, "\n");
}

static void help_line(const char *flag, const char *arg, const char *words, FILE *out)
{
	int n = fprintf(out, "  --%s%s%s", flag, arg ? " " : "", arg ? arg : "");

	wrap(words, n < 0 ? 0 : (size_t)n, out);
}

static const char *help_arg(const struct sonde_option *o)
{
	static const char *const args[] = {
		[SONDE_OPTION_TYPE_BOOL] = NULL,     [SONDE_OPTION_TYPE_UINT] = "N",
		[SONDE_OPTION_TYPE_INT] = "N",	     [SONDE_OPTION_TYPE_DURATION] = "TIME",
		[SONDE_OPTION_TYPE_BYTES] = "SIZE",  [SONDE_OPTION_TYPE_PORT] = "PORT",
		[SONDE_OPTION_TYPE_STRING] = "TEXT", [SONDE_OPTION_TYPE_PATH] = "PATH",
		[SONDE_OPTION_TYPE_ENUM] = "WORD",   [SONDE_OPTION_TYPE_STRINGS] = "TEXT,…",
		[SONDE_OPTION_TYPE_LIST] = NULL,
	};
	_Static_assert(ELEMENTS_OF(args) == _SONDE_OPTION_TYPE_MAX, "an argument for each type");

	return args[o->type];
}

static int range_words(const struct sonde_option *o, struct sonde_buf *out)
{
	int r = 0;

	if (o->type == SONDE_OPTION_TYPE_ENUM) {
		for (int i = 0; r == 0 && o->names[i]; i++)
			r = sonde_buf_printf(out, "%s%s", i > 0 ? ", " : "", o->names[i]);
	} else if (o->type == SONDE_OPTION_TYPE_LIST || o->type == SONDE_OPTION_TYPE_STRINGS) {
		r = sonde_buf_printf(out, "at most %zu", sonde_option_limit(o));
	} else if (o->type == SONDE_OPTION_TYPE_STRING || o->type == SONDE_OPTION_TYPE_PATH) {
		r = o->max ? sonde_buf_printf(out, "at most %s bytes", o->max) : 0;
	} else if (o->type == SONDE_OPTION_TYPE_PORT) {
		r = sonde_buf_printf(out, "%s to %s", o->min ? o->min : "0",
				     o->max ? o->max : "65535");
	} else if (o->min && o->max) {
		r = sonde_buf_printf(out, "%s to %s", o->min, o->max);
	} else if (o->min || o->max) {
		r = sonde_buf_printf(out, "at %s %s", o->min ? "least" : "most",
				     o->min ? o->min : o->max);
	}
	return r;
}

static int help_option(const struct sonde_option *o, FILE *out)
{
	_cleanup_buf_ struct sonde_buf words = SONDE_BUF_INIT(4096);
	_cleanup_buf_ struct sonde_buf range = SONDE_BUF_INIT(1024);
	char flag[SONDE_CONFIG_KEY_MAX];
	int r;

	if (!sonde_option_flag(o, flag))
		return 0;
	/* on by its name alone; what is on by default can be switched off */
	if (o->type == SONDE_OPTION_TYPE_BOOL && o->fallback && strcmp(o->fallback, "true") == 0)
		(void)strncat(flag, "=false", sizeof(flag) - strlen(flag) - 1);
	r = range_words(o, &range);
	if (r == 0)
		r = sonde_buf_printf(&words, "%s", o->help);
	if (r == 0 && range.len > 0)
		r = sonde_buf_printf(&words, "; %s", sonde_buf_str(&range));
	if (r == 0 && o->fallback && *o->fallback)
		r = sonde_buf_printf(&words, " (default %s)", o->fallback);
	if (r < 0)
		return r;
	help_line(flag, help_arg(o), sonde_buf_str(&words), out);
	return 0;
}

int sonde_config_help(const struct sonde_config_spec *spec, FILE *out)
{
	char file[SONDE_CONFIG_KEY_MAX];

	(void)fprintf(out, "Usage: %s [FLAG]...\n%.*s.\n\n", spec->program, sentence(spec->summary),
		      spec->summary);
	if (spec->default_file)
		(void)snprintf(file, sizeof(file), "read this file instead of %s",
			       spec->default_file);
	else
		(void)snprintf(file, sizeof(file), "read this file");
	help_line("config", "FILE", file, out);
	help_line("check-config", NULL, "check file, environment and flags, then exit", out);
	help_line("dump-config", NULL, "print the effective config as YAML, then exit", out);
	for (const struct sonde_config_action *a = spec->actions; a && a->flag; a++) {
		if (a->help)
			help_line(a->flag, a->arg, a->help, out);
	}
	help_line("help", NULL, "this text (-h)", out);
	help_line("version", NULL, "the version (-V)", out);
	(void)fprintf(out,
		      "\nSettings (the file's keys are in config/README.md; a flag goes before the "
		      "environment,\nthat before the file; --x means --x=true, --x=false switches "
		      "off what the file switches on):\n");
	for (const struct sonde_option *o = spec->options; o->key; o++) {
		int r = help_option(o, out);

		if (r < 0)
			return r;
	}
	(void)fprintf(out, "\nExit status: 0 done, %d wrong flag or config%s%s.\n",
		      SONDE_CONFIG_EXIT_USAGE, spec->exits ? ", " : "",
		      spec->exits ? spec->exits : "");
	return finished(out);
}

static int reference_table(const struct sonde_config_spec *spec, const struct sonde_option *table,
			   const char *outer, FILE *out);

static int reference_row(const struct sonde_config_spec *spec, const struct sonde_option *o,
			 bool in_list, FILE *out)
{
	_cleanup_buf_ struct sonde_buf range = SONDE_BUF_INIT(1024);
	char env[SONDE_CONFIG_KEY_MAX * 2], flag[SONDE_CONFIG_KEY_MAX];
	int r;

	r = range_words(o, &range);
	if (r < 0)
		return r;
	(void)fprintf(out, "| `%s` | %s | ", o->key, sonde_option_type_word(o));
	if (o->fallback && *o->fallback)
		(void)fprintf(out, "`%s`", o->fallback);
	else if (o->flags & SONDE_OPTION_REQUIRED)
		(void)fprintf(out, "required");
	else
		(void)fprintf(out, "empty");
	(void)fprintf(out, " | %s | ", sonde_buf_str(&range));
	if (!in_list) {
		if (sonde_option_env(spec, o, env))
			(void)fprintf(out, "`%s`", env);
		if (sonde_option_flag(o, flag) && spec->env_prefix)
			(void)fprintf(out, " `--%s`", flag);
		(void)fprintf(out, " | ");
	}
	(void)fprintf(out, "%s%s |\n", o->help,
		      o->flags & SONDE_OPTION_SECRET ? " (secret: never shown)" : "");
	return 0;
}

static int reference_lists(const struct sonde_config_spec *spec, const struct sonde_option *table,
			   const char *outer, FILE *out)
{
	int r = 0;

	for (const struct sonde_option *o = table; r == 0 && o->key; o++) {
		char key[SONDE_CONFIG_KEY_MAX * 2];

		if (o->type != SONDE_OPTION_TYPE_LIST)
			continue;
		(void)snprintf(key, sizeof(key), "%.*s%s[].", SONDE_CONFIG_KEY_MAX, outer, o->key);
		(void)fprintf(out, "\n### %s: each entry of `%.*s`\n\n", spec->program,
			      (int)strlen(key) - 1, key);
		r = reference_table(spec, o->element, key, out);
	}
	return r;
}

static int reference_table(const struct sonde_config_spec *spec, const struct sonde_option *table,
			   const char *outer, FILE *out)
{
	bool in_list = *outer != '\0';

	(void)fprintf(out, "| Key | Value | Default | Range | %sMeaning |\n",
		      in_list ? "" : "Environment, flag | ");
	(void)fprintf(out, "| --- | --- | --- | --- | --- |%s\n", in_list ? "" : " --- |");
	for (const struct sonde_option *o = table; o->key; o++) {
		int r = reference_row(spec, o, in_list, out);

		if (r < 0)
			return r;
	}
	return reference_lists(spec, table, outer, out);
}

int sonde_config_reference(const struct sonde_config_spec *spec, FILE *out)
{
	int r;

	(void)fprintf(out, "## %s\n\n%.*s.", spec->program, sentence(spec->summary), spec->summary);
	if (spec->default_file)
		(void)fprintf(out, " File: `%s`.", spec->default_file);
	(void)fprintf(out, "\n\n");
	r = reference_table(spec, spec->options, "", out);
	return r < 0 ? r : finished(out);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* sonde mal check: whether an OAP, and ours, takes rule files, and what they do that may not be meant */
#include <errno.h>
#include <string.h>

#include <jansson.h>

#include "config/yaml.h"
#include "ctl/cli.h"
#include "ctl/output.h"
#include "ctl/term.h"
#include "mal/rules.h"
#include "model/meters.h"

struct check {
	struct sonde_cli *cli;
	json_t *files;	  /* owned; of -o json */
	json_t *findings; /* borrowed; of the file that is read */
	size_t rules, errors, warnings, refused;
	bool quiet; /* no warnings */
	bool no_memory;
};

static void print_finding(struct check *c, const struct sonde_mal_diagnostic *d)
{
	_cleanup_buf_ struct sonde_buf safe = SONDE_BUF_INIT(64UL * 1024);
	int r = sonde_term_escape(d->message, strlen(d->message), &safe);

	if (r >= 0 && d->rule)
		r = sonde_buf_append(&safe, " (", 2);
	if (r >= 0 && d->rule)
		r = sonde_term_escape(d->rule, strnlen(d->rule, 256), &safe);
	if (r >= 0 && d->rule)
		r = sonde_buf_append(&safe, ")", 1);
	c->no_memory |= r < 0;
	(void)fprintf(c->cli->out, "%s:%u:%u: %s%s\n", d->file, d->line, d->column,
		      d->warning ? "warning: " : "", sonde_buf_str(&safe));
}

static void keep_finding(struct check *c, const struct sonde_mal_diagnostic *d)
{
	json_t *one = json_pack("{s:s, s:i, s:i, s:s?, s:s}", "severity",
				d->warning ? "warning" : "error", "line", (int)d->line, "column",
				(int)d->column, "rule", d->rule, "message", d->message);

	c->no_memory |= json_array_append_new(c->findings, one) < 0;
}

static void on_found(void *ctx, const struct sonde_mal_diagnostic *d)
{
	struct check *c = ctx;

	if (d->warning)
		c->warnings++;
	else
		c->errors++;
	if (d->warning && c->quiet)
		return;
	if (c->findings)
		keep_finding(c, d);
	else
		print_finding(c, d);
}

static bool is_fed(void *ctx, const char *metric)
{
	(void)ctx;
	return sonde_meter_is_sent(metric);
}

/* OAP refuses a file for one bad rule; ours leaves the rule out. */
static int check_text(struct check *c, const char *path, const char *text, size_t len)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = NULL;
	struct sonde_mal_report report = {on_found, c, true, is_fed};
	size_t errors = c->errors, n = 0;
	json_t *file;
	int r;

	if (c->files)
		c->findings = json_array();
	r = sonde_mal_rules_load(path, text, len, report, &rules);
	if (r == -ENOMEM)
		return sonde_cli_broken(c->cli, r);
	if (rules)
		n = sonde_mal_rules_count(rules);
	c->rules += n;
	c->refused += c->errors > errors;
	if (!c->files)
		return 0;
	file = json_pack("{s:s, s:b, s:I, s:o}", "file", path, "accepted", c->errors == errors,
			 "rules", (json_int_t)n, "findings", c->findings);
	if (c->no_memory || json_array_append_new(c->files, file) < 0)
		return sonde_cli_broken(c->cli, -ENOMEM);
	return 0;
}

static int check_file(struct check *c, const char *path)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r;

	r = sonde_yaml_read_file(strcmp(path, "-") == 0 ? "/dev/stdin" : path, SONDE_MAL_FILE_BYTES,
				 &text, &len);
	if (r < 0)
		return sonde_cli_fail(c->cli, SONDE_CLI_USAGE, "%s: %s", path,
				      r == -EFBIG ? "a rule file has at most 1 MiB" : strerror(-r));
	return check_text(c, path, text, len);
}

static int print_json(struct check *c)
{
	json_t *all = json_pack("{s:O, s:I, s:I, s:I, s:I}", "files", c->files, "rules",
				(json_int_t)c->rules, "refused", (json_int_t)c->refused, "errors",
				(json_int_t)c->errors, "warnings", (json_int_t)c->warnings);
	int status = all ? sonde_cli_print_value(c->cli, all) : sonde_cli_broken(c->cli, -ENOMEM);

	json_decref(all);
	return status;
}

int sonde_cli_mal_check(struct sonde_cli *cli)
{
	struct check c = {.cli = cli, .quiet = sonde_cli_flag(cli, "no-warnings")};
	int status = 0;

	if (sonde_cli_output(cli) == SONDE_CLI_JSON) {
		c.files = json_array();
		if (!c.files)
			return sonde_cli_broken(cli, -ENOMEM);
	}
	for (size_t i = 0; i < cli->n_operands && status == 0; i++)
		status = check_file(&c, cli->operands[i]);
	if (status == 0 && c.files)
		status = print_json(&c);
	if (status == 0 && !c.files)
		sonde_cli_note(cli, "%zu %s: %zu accepted, %zu refused; %zu rules, %zu warnings",
			       cli->n_operands, cli->n_operands == 1 ? "file" : "files",
			       cli->n_operands - c.refused, c.refused, c.rules, c.warnings);
	json_decref(c.files);
	if (status != 0)
		return status;
	return c.errors > 0 ? SONDE_CLI_NO : SONDE_CLI_OK;
}

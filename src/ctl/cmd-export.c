/* SPDX-License-Identifier: Apache-2.0 */
/* sonde export, sonde import: a task as a file, and a bundle back into a server */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "ctl/fetch.h"
#include "ctl/members.h"
#include "ctl/term.h"
#include "ctl/view.h"
#include "ctl/whole-file.h"

#define BUNDLE_TYPE "application/zstd"
#define BUNDLE_SUFFIX ".tar.zst"
#define BUNDLE_BYTES_MAX (16U << 20)
#define PATH_BYTES_MAX 4096

/* What is exported, whole, before a byte of it is written. */
struct export
{
	struct sonde_cli *cli;
	const char *id;
	struct sonde_buf out;
};

static void export_done(struct export *x)
{
	sonde_buf_done(&x->out);
}

static int fetch(struct export *x, const char *suffix, const char *accept)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(PATH_BYTES_MAX);
	int r = sonde_cli_task_path(x->id, suffix, &path);

	if (r < 0)
		return sonde_cli_no_task_path(x->cli, x->id, r);
	r = sonde_rest_fetch(x->cli->rest, sonde_buf_str(&path), accept, &answer);
	r = sonde_cli_tell(x->cli, r, &answer);
	if (r != 0)
		return r;
	r = sonde_buf_append(&x->out, answer.body.data, answer.body.len);
	return r < 0 ? sonde_cli_broken(x->cli, r) : 0;
}

static int make_bundle(struct export *x)
{
	return fetch(x, "/bundle", BUNDLE_TYPE);
}

static int make_openmetrics(struct export *x)
{
	return fetch(x, "/openmetrics", "application/openmetrics-text");
}

/* The answers as they came, under one roof. */
static int make_json(struct export *x)
{
	static const struct {
		const char *before, *suffix;
	} parts[] = {
		{"{\"task\":", ""},
		{",\"ledger\":", "/ledger"},
		{",\"topology\":", "/topology"},
		{",\"metrics\":", "/metrics"},
	};
	int status = 0, r = 0;

	for (size_t i = 0; i < ELEMENTS_OF(parts) && status == 0 && r == 0; i++) {
		r = sonde_buf_append(&x->out, parts[i].before, strlen(parts[i].before));
		if (r == 0)
			status = fetch(x, parts[i].suffix, "application/json");
	}
	if (status == 0 && r == 0)
		r = sonde_buf_append(&x->out, "}\n", 2);
	return r < 0 ? sonde_cli_broken(x->cli, r) : status;
}

/* --- csv --- */

static int add_cell(FILE *out, const char *text)
{
	_cleanup_buf_ struct sonde_buf safe = SONDE_BUF_INIT(SONDE_REST_BODY_MAX);
	int r = sonde_term_escape(text, strlen(text), &safe);

	if (r < 0)
		return r;
	sonde_csv_text(sonde_buf_str(&safe), out);
	(void)fputc(',', out);
	return 0;
}

/* {"kind": "fast"} as "kind=fast", several with a blank between. */
static int add_labels(FILE *out, const json_t *labels)
{
	_cleanup_buf_ struct sonde_buf text = SONDE_BUF_INIT(SONDE_REST_BODY_MAX);
	const char *key;
	json_t *value;
	int r = 0;

	json_object_foreach((json_t *)labels, key, value)
	{
		if (r == 0)
			r = sonde_buf_printf(&text, "%s%s=%s", text.len ? " " : "", key,
					     json_is_string(value) ? json_string_value(value) : "");
	}
	return r < 0 ? r : add_cell(out, sonde_buf_str(&text));
}

static int add_row(FILE *out, const json_t *row)
{
	static const char *const before[] = {"metric", "edge", "client", "server", "side"};
	const json_t *value = json_object_get(row, "value");
	int r = 0;

	for (size_t i = 0; i < ELEMENTS_OF(before) && r == 0; i++)
		r = add_cell(out, sonde_text_of(row, before[i]));
	if (r == 0)
		r = add_labels(out, json_object_get(row, "labels"));
	if (r == 0)
		r = add_cell(out, sonde_text_of(row, "kind"));
	if (r == 0)
		r = add_cell(out, sonde_text_of(row, "unit"));
	if (r < 0)
		return r;
	if (json_is_integer(value))
		(void)fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		(void)fprintf(out, "%.17g", json_real_value(value));
	(void)fputc('\n', out);
	return 0;
}

/* In a line of remarks. */
static void add_words(FILE *out, const char *before, const char *text)
{
	(void)fputs(before, out);
	sonde_term_print(text, strcspn(text, "\n"), out);
}

/* What the numbers are worth stands above them, and how many rows there are. */
static void add_head(FILE *out, const json_t *task, const json_t *ledger, size_t rows)
{
	const json_t *entries = json_object_get(ledger, "entries");

	add_words(out, "# task ", sonde_text_of(task, "id"));
	add_words(out, ", ", sonde_text_of(task, "state"));
	add_words(out, ", started ", sonde_text_of(task, "started"));
	add_words(out, ", ended ", sonde_text_of(task, "ended"));
	(void)fputs(json_is_true(json_object_get(ledger, "complete"))
			    ? "\n# complete: nothing was lost\n"
			    : "\n# not complete: counts are lower bounds\n",
		    out);
	for (size_t i = 0; i < json_array_size(entries); i++) {
		const json_t *e = json_array_get(entries, i);

		add_words(out, "# lost at ", sonde_text_of(e, "site"));
		(void)fprintf(out, ": %" JSON_INTEGER_FORMAT "%s\n",
			      json_integer_value(json_object_get(e, "count")),
			      json_is_true(json_object_get(e, "weakens"))
				      ? ""
				      : ", which weakens no number");
	}
	(void)fprintf(out, "# rows %zu\nmetric,edge,client,server,side,labels,kind,unit,value\n",
		      rows);
}

static int write_csv(FILE *out, const json_t *task, const json_t *ledger, const json_t *rows)
{
	int r = 0;

	add_head(out, task, ledger, json_array_size(rows));
	for (size_t i = 0; i < json_array_size(rows) && r == 0; i++)
		r = add_row(out, json_array_get(rows, i));
	return r;
}

static int make_csv(struct export *x)
{
	_cleanup_answer_ struct sonde_rest_answer task = SONDE_REST_ANSWER_INIT,
						  ledger = SONDE_REST_ANSWER_INIT,
						  metrics = SONDE_REST_ANSWER_INIT;
	_cleanup_free_ char *text = NULL;
	size_t n = 0;
	FILE *out;
	int status, r;

	status = sonde_cli_get_task(x->cli, x->id, "", &task);
	if (status == 0)
		status = sonde_cli_get_task(x->cli, x->id, "/ledger", &ledger);
	if (status == 0)
		status = sonde_cli_get_task(x->cli, x->id, "/metrics", &metrics);
	if (status != 0)
		return status;
	out = open_memstream(&text, &n);
	if (!out)
		return sonde_cli_broken(x->cli, -ENOMEM);
	r = write_csv(out, task.json, ledger.json, json_object_get(metrics.json, "metrics"));
	if (fclose(out) != 0 && r == 0)
		r = -ENOMEM;
	if (r == 0)
		r = sonde_buf_append(&x->out, text, n);
	return r < 0 ? sonde_cli_broken(x->cli, r) : 0;
}

/* --- the commands --- */

static bool ends_in(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

/* A file has each byte; a terminal none that could steer it. A bundle never comes here. */
static int put_on_terminal(struct export *x, bool json)
{
	const char *text = sonde_buf_str(&x->out);

	if (json)
		sonde_term_print_json(text, x->out.len, x->cli->out);
	else
		sonde_term_print(text, x->out.len, x->cli->out);
	return fflush(x->cli->out) == 0 ? 0 : sonde_cli_broken(x->cli, -EIO);
}

/* A folder that is not there is for who named the file to mend; a full disk is not. */
static int status_of_write(int err)
{
	bool ours = err == -ENOMEM || err == -ENOSPC || err == -EDQUOT || err == -EIO;

	return ours ? SONDE_CLI_INTERNAL : SONDE_CLI_USAGE;
}

/* To a file, or where @to is NULL or "-" to stdout. */
static int put(struct export *x, const char *to, bool json)
{
	struct sonde_cli *cli = x->cli;
	int r;

	if (to && strcmp(to, "-") != 0) {
		r = sonde_whole_file_write(to, x->out.data, x->out.len, 0666);
		if (r < 0)
			return sonde_cli_fail(cli, status_of_write(r), "cannot write '%s': %s", to,
					      strerror(-r));
		sonde_cli_note(cli, "%s: %zu bytes", to, x->out.len);
		return 0;
	}
	if (cli->out_tty)
		return put_on_terminal(x, json);
	if (x->out.len > 0 &&
	    (fwrite(x->out.data, 1, x->out.len, cli->out) != x->out.len || fflush(cli->out) != 0))
		return sonde_cli_broken(cli, -EIO);
	return 0;
}

int sonde_cli_export(struct sonde_cli *cli)
{
	static const struct {
		const char *name;
		int (*make)(struct export *x);
	} formats[] = {
		{"bundle", make_bundle},
		{"csv", make_csv},
		{"json", make_json},
		{"openmetrics", make_openmetrics},
	};
	_cleanup_(export_done) struct export x = {
		.cli = cli, .id = cli->operands[0], .out = SONDE_BUF_INIT(4 * SONDE_REST_BODY_MAX)};
	const char *format = sonde_cli_flag(cli, "output"), *to = sonde_cli_flag(cli, "to");
	char own[256];
	size_t i = 0;
	int status;

	if (!format || (ends_in(format, BUNDLE_SUFFIX) && !to)) {
		(void)snprintf(own, sizeof(own), "%.64s" BUNDLE_SUFFIX, x.id);
		to = format ? format : to ? to : own;
		format = "bundle";
	}
	while (i < ELEMENTS_OF(formats) && strcmp(formats[i].name, format) != 0)
		i++;
	if (i == ELEMENTS_OF(formats))
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "-o '%s': expected a FILE" BUNDLE_SUFFIX
				      ", bundle, csv, json or openmetrics",
				      format);
	if (i == 0 && cli->out_tty && (!to || strcmp(to, "-") == 0))
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "a bundle is not for a terminal: --to FILE");
	status = formats[i].make(&x);
	return status == 0 ? put(&x, to, formats[i].make == make_json) : status;
}

/* Return: 0, -EMSGSIZE: there is more, -errno. */
static int at_end(int fd)
{
	char more;
	size_t n;
	int r = sonde_file_fill(fd, &more, 1, &n);

	return r == 0 && n > 0 ? -EMSGSIZE : r;
}

static int read_bundle(struct sonde_cli *cli, const char *path, struct sonde_buf *out)
{
	size_t n = 0;
	int r;

	if (strcmp(path, "-") != 0)
		r = sonde_file_read(path, false, out);
	else {
		r = sonde_buf_reserve(out, BUNDLE_BYTES_MAX);
		if (r == 0)
			r = sonde_file_fill(STDIN_FILENO, out->data, BUNDLE_BYTES_MAX, &n);
		if (r == 0 && n == BUNDLE_BYTES_MAX)
			r = at_end(STDIN_FILENO);
		out->len = r == 0 ? n : 0;
	}
	if (r == -EMSGSIZE || r == -EFBIG)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "'%s' is larger than a bundle may be",
				      path);
	return r < 0 ? sonde_cli_fail(cli, SONDE_CLI_USAGE, "cannot read '%s': %s", path,
				      strerror(-r))
		     : 0;
}

int sonde_cli_import(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(PATH_BYTES_MAX);
	_cleanup_buf_ struct sonde_buf bundle = SONDE_BUF_INIT(BUNDLE_BYTES_MAX);
	int status, r;

	status = read_bundle(cli, cli->operands[0], &bundle);
	if (status != 0)
		return status;
	r = sonde_buf_printf(&path, "/api/v1/import");
	if (r == 0)
		r = sonde_cli_add_parameter(&path, "as", sonde_cli_flag(cli, "as"));
	if (r < 0)
		return sonde_cli_broken(cli, r);
	r = sonde_rest_upload(cli->rest, sonde_buf_str(&path), BUNDLE_TYPE,
			      bundle.data ? (const void *)bundle.data : "", bundle.len, &answer);
	status = sonde_cli_tell(cli, r, &answer);
	if (status != 0)
		return status;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	sonde_view_text(cli, sonde_text_of(answer.json, "id"));
	return fputc('\n', cli->out) == EOF ? sonde_cli_broken(cli, -EIO) : 0;
}

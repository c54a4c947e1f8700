/* SPDX-License-Identifier: Apache-2.0 */
/* sonde skywalking install and status: our dashboards and rule files in a SkyWalking OAP */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "ctl/rest.h"
#include "ctl/rule-status.h"
#include "ctl/template-plan.h"
#include "ctl/view.h"

#define ANY_METRIC "sonde_net_sent_bytes_total"

/* --- install --- */

static int fail_change(struct sonde_cli *cli, const struct sonde_template_row *row,
		       const char *words)
{
	if (sonde_oap_is_update_refused(words)) {
		return sonde_cli_fail(
			cli, SONDE_CLI_REFUSED,
			"the OAP takes no change of a dashboard: start it with "
			"SW_ENABLE_UPDATE_UI_TEMPLATE=true, install, and take that away again; or put the "
			"files into its config/ui-initialized-templates/custom. Its words: %s",
			words);
	}
	return sonde_cli_fail(cli, SONDE_CLI_REFUSED, "%s: the OAP did not take it: %s",
			      row->template->name, words ? words : "without words");
}

static json_t *change_variables(const struct sonde_template_row *row)
{
	_cleanup_free_ char *text = sonde_template_text(row->template);

	if (!text)
		return NULL;
	if (row->action == SONDE_TEMPLATE_ADD)
		return json_pack("{s:{s:s}}", "s", "configuration", text);
	return json_pack("{s:{s:s, s:s}}", "s", "id", row->id, "configuration", text);
}

static int change_one(struct sonde_cli *cli, struct sonde_template_row *row)
{
	const char *query =
		row->action == SONDE_TEMPLATE_ADD
			? "mutation($s: NewDashboardSetting!) { r: addTemplate(setting: $s) { id status message } }"
			: "mutation($s: DashboardSetting!) { r: changeTemplate(setting: $s) { id status message } }";
	json_t *variables = change_variables(row);
	json_auto_t *data = NULL;
	const json_t *answer;
	const char *id;
	int status;

	if (!variables)
		return sonde_cli_broken(cli, -ENOMEM);
	status = sonde_oap_ask(cli, query, variables, &data);
	if (status != 0)
		return status;
	answer = json_object_get(data, "r");
	if (!json_is_true(json_object_get(answer, "status")))
		return fail_change(cli, row, json_string_value(json_object_get(answer, "message")));
	id = json_string_value(json_object_get(answer, "id"));
	if (!row->id && id) {
		row->id = strdup(id);
		if (!row->id)
			return sonde_cli_broken(cli, -ENOMEM);
	}
	row->done = true;
	row->state = SONDE_TEMPLATE_CURRENT;
	return 0;
}

/* Stops at the first fault: what is done is done, and a second install goes on from there. */
static int change_all(struct sonde_cli *cli, struct sonde_template_plan *p)
{
	int status = 0;

	for (size_t i = 0; status == 0 && i < p->templates.n; i++) {
		enum sonde_template_action action = p->rows[i].action;

		if (action == SONDE_TEMPLATE_ADD || action == SONDE_TEMPLATE_REPLACE)
			status = change_one(cli, &p->rows[i]);
	}
	return status;
}

static int tell_left(struct sonde_cli *cli, const struct sonde_template_plan *p)
{
	int status = SONDE_CLI_OK;

	for (size_t i = 0; i < p->templates.n; i++) {
		const struct sonde_template_row *row = &p->rows[i];

		if (row->action != SONDE_TEMPLATE_LEAVE)
			continue;
		sonde_cli_note(cli, "%s of layer %s was left alone: it %s; --force replaces it",
			       row->template->name, row->template->layer,
			       row->state == SONDE_TEMPLATE_NEWER ? "comes from a newer sonde"
								  : "was edited");
		status = SONDE_CLI_NO;
	}
	return status;
}

/* Whether a real run would be refused. */
static bool is_futile(const struct sonde_template_plan *p)
{
	bool wanted = false;

	for (size_t i = 0; i < p->templates.n; i++)
		wanted = wanted || p->rows[i].action == SONDE_TEMPLATE_ADD ||
			 p->rows[i].action == SONDE_TEMPLATE_REPLACE;
	return wanted && p->about.updates == SONDE_OAP_UPDATES_OFF;
}

/* Dashboards without rules are empty: who looks at them should know why. */
static int tell_rules(struct sonde_cli *cli)
{
	json_auto_t *data = NULL;
	const char *type;
	int status;

	status = sonde_oap_ask(cli, "{ type: typeOfMetrics(name: \"" ANY_METRIC "\") }", NULL,
			       &data);
	if (status != 0)
		return status;
	type = json_string_value(json_object_get(data, "type"));
	if (!type || strcmp(type, "LABELED_VALUE") != 0)
		sonde_cli_note(cli, "the OAP does not know " ANY_METRIC
				    ": without mal/sonde-network.yaml the dashboards stay empty "
				    "(sonde skywalking status, deploy/skywalking/README.md)");
	return 0;
}

int sonde_cli_skywalking_install(struct sonde_cli *cli)
{
	_cleanup_plan_ struct sonde_template_plan p = {0};
	int status, fault = 0, printed;

	status = sonde_template_plan_make(cli, &p);
	if (status != 0)
		return status;
	if (!sonde_cli_flag(cli, "dry-run"))
		fault = change_all(cli, &p);
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		printed = sonde_template_plan_print_json(cli, &p, true, NULL);
	else
		printed = sonde_template_plan_print(cli, &p, true);
	sonde_template_plan_tell_twins(cli, &p);
	status = tell_left(cli, &p);
	if (fault == 0)
		fault = tell_rules(cli);
	if (fault != 0)
		return fault;
	if (sonde_cli_flag(cli, "dry-run") && is_futile(&p))
		return sonde_cli_fail(cli, SONDE_CLI_REFUSED,
				      "the OAP would refuse: it runs without "
				      "SW_ENABLE_UPDATE_UI_TEMPLATE=true");
	return printed != SONDE_CLI_OK ? printed : status;
}

/* --- status --- */

static int load_rules(struct sonde_cli *cli, const char *dir, const char *file,
		      struct sonde_mal_rules **ret)
{
	_cleanup_buf_ struct sonde_buf text = SONDE_BUF_INIT(SONDE_MAL_FILE_BYTES);
	_cleanup_free_ char *path = NULL;
	int r;

	if (asprintf(&path, "%s/%s", dir, file) < 0) {
		path = NULL;
		return sonde_cli_broken(cli, -ENOMEM);
	}
	r = sonde_file_read(path, false, &text);
	if (r < 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s: %s", path,
				      sonde_file_error(r, false));
	r = sonde_mal_rules_load(file, sonde_buf_str(&text), text.len, (struct sonde_mal_report){0},
				 ret);
	if (r == -ENOMEM)
		return sonde_cli_broken(cli, r);
	if (r != 0 || sonde_mal_rules_count(*ret) == 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s: no rule file, or bad rules", path);
	return 0;
}

static json_t *rule_json(const char *file, struct sonde_rule_status *s)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:o}", "file", file, "state",
			 sonde_rule_state_name(s->state), "metrics", (json_int_t)s->n_metrics,
			 "found", (json_int_t)s->n_found, "missing", s->missing);
}

static int judge_file(struct sonde_cli *cli, const struct sonde_template_plan *p, const char *dir,
		      const char *file, const json_t *metrics, json_t *rows)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = NULL;
	struct sonde_rule_status s;
	int status, r;

	status = load_rules(cli, dir, file, &rules);
	if (status != 0)
		return status;
	r = sonde_rule_status(rules, metrics, p->about.major, p->about.minor, &s);
	if (r == 0 && json_array_append_new(rows, rule_json(file, &s)) < 0)
		r = -ENOMEM;
	return r < 0 ? sonde_cli_broken(cli, r) : 0;
}

static int is_yaml(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return n > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + n - 5, ".yaml") == 0;
}

/* *@rows: an array, a row a file. */
static int judge_rules(struct sonde_cli *cli, const struct sonde_template_plan *p, json_t *rows)
{
	_cleanup_free_ char *dir = NULL;
	json_auto_t *data = NULL;
	struct dirent **names = NULL;
	int n, status;

	status = sonde_cli_find_folder(cli, "rules", "/../mal", "/../share/sonde/mal", &dir);
	if (status == 0)
		status = sonde_oap_ask(cli, "{ list: listMetrics { name type catalog } }", NULL,
				       &data);
	if (status != 0)
		return status;
	n = scandir(dir, &names, is_yaml, alphasort);
	if (n <= 0)
		return sonde_cli_fail(cli, SONDE_CLI_NOT_FOUND, "%s: no rule files there", dir);
	for (int i = 0; i < n; i++) {
		if (status == 0)
			status = judge_file(cli, p, dir, names[i]->d_name,
					    json_object_get(data, "list"), rows);
		free(names[i]);
	}
	free(names);
	return status;
}

/* "a, b, c and 5 more" */
static void cell_missing(struct sonde_table *t, const json_t *missing)
{
	size_t n = json_array_size(missing);
	char text[512];
	int at = 0;

	for (size_t i = 0; i < n && i < 3 && at < (int)sizeof(text); i++)
		at += snprintf(text + at, sizeof(text) - (size_t)at, "%s%s", i > 0 ? ", " : "",
			       json_string_value(json_array_get(missing, i)));
	if (n == 0)
		sonde_table_add(t, NULL);
	else if (n > 3)
		sonde_table_addf(t, "%s and %zu more", text, n - 3);
	else
		sonde_table_add(t, text);
}

static int print_rules(struct sonde_cli *cli, const json_t *rows)
{
	static const struct sonde_column columns[] = {
		{"RULE FILE", false, false}, {"STATE", false, false},  {"METRICS", true, false},
		{"FOUND", true, false},	     {"MISSING", false, true}, {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	const json_t *row;
	size_t i;
	int r = sonde_table_new(columns, &t);

	if (r < 0)
		return sonde_cli_broken(cli, r);
	json_array_foreach(rows, i, row)
	{
		const char *state = json_string_value(json_object_get(row, "state"));

		sonde_cell_text(t, row, "file");
		sonde_table_add_styled(
			t, strcmp(state, "in force") == 0 ? SONDE_STYLE_GREEN : SONDE_STYLE_YELLOW,
			state);
		sonde_cell_count(t, row, "metrics");
		sonde_cell_count(t, row, "found");
		cell_missing(t, json_object_get(row, "missing"));
	}
	return sonde_view_table(cli, t);
}

static int print_status(struct sonde_cli *cli, const struct sonde_template_plan *p,
			const json_t *rules)
{
	static const char *const updates[] = {
		"it does not say whether dashboards may be changed",
		"takes no change of a dashboard (SW_ENABLE_UPDATE_UI_TEMPLATE)",
		"dashboards may be changed"};
	int status;

	(void)fputs("OAP ", cli->out);
	sonde_view_text(cli, p->about.version);
	(void)fprintf(cli->out, " at %s: %s\n\n", sonde_rest_server(cli->rest),
		      updates[p->about.updates]);
	status = sonde_template_plan_print(cli, p, false);
	if (status != SONDE_CLI_OK)
		return status;
	(void)fputc('\n', cli->out);
	return print_rules(cli, rules);
}

/* Whether all is there. What a newer sonde left is; what needs a newer OAP is not asked for. */
static bool is_complete(const struct sonde_template_plan *p, const json_t *rules)
{
	const json_t *row;
	size_t i;

	for (i = 0; i < p->templates.n; i++) {
		if (p->rows[i].n_twins > 0 || (p->rows[i].state != SONDE_TEMPLATE_CURRENT &&
					       p->rows[i].state != SONDE_TEMPLATE_NEWER))
			return false;
	}
	json_array_foreach(rules, i, row)
	{
		const char *state = json_string_value(json_object_get(row, "state"));

		if (strcmp(state, sonde_rule_state_name(SONDE_RULE_IN_FORCE)) != 0 &&
		    strcmp(state, sonde_rule_state_name(SONDE_RULE_NEEDS_NEWER)) != 0)
			return false;
	}
	return true;
}

int sonde_cli_skywalking_status(struct sonde_cli *cli)
{
	_cleanup_plan_ struct sonde_template_plan p = {0};
	json_auto_t *rules = json_array();
	int status;

	if (!rules)
		return sonde_cli_broken(cli, -ENOMEM);
	status = sonde_template_plan_make(cli, &p);
	if (status == 0)
		status = judge_rules(cli, &p, rules);
	if (status != 0)
		return status;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		status = sonde_template_plan_print_json(cli, &p, false, json_incref(rules));
	else
		status = print_status(cli, &p, rules);
	sonde_template_plan_tell_twins(cli, &p);
	if (status != SONDE_CLI_OK)
		return status;
	return is_complete(&p, rules) ? SONDE_CLI_OK : SONDE_CLI_NO;
}

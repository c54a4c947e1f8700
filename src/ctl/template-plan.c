/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/template-plan.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/nesting.h"
#include "ctl/output.h"
#include "ctl/rest.h"
#include "ctl/view.h"

#define DASHBOARD_DEPTH_MAX 64

void sonde_template_plan_done(struct sonde_template_plan *p)
{
	for (size_t i = 0; p->rows && i < p->templates.n; i++)
		free(p->rows[i].id);
	free(p->rows);
	sonde_templates_done(&p->templates);
}
/* --- files --- */

/* The folder that --@flag names, else the nearest to the program that is there. */
int sonde_cli_find_folder(struct sonde_cli *cli, const char *flag, const char *source,
			  const char *installed, char **ret)
{
	const char *const beside[] = {source, installed};
	const char *named = sonde_cli_flag(cli, flag);

	if (named) {
		*ret = strdup(named);
		return *ret ? 0 : sonde_cli_broken(cli, -ENOMEM);
	}
	for (size_t i = 0; i < ELEMENTS_OF(beside) && *cli->program_dir; i++) {
		_cleanup_free_ char *path = NULL;

		if (asprintf(&path, "%s%s", cli->program_dir, beside[i]) < 0) {
			path = NULL;
			return sonde_cli_broken(cli, -ENOMEM);
		}
		if (access(path, R_OK) == 0) {
			*ret = TAKE_PTR(path);
			return 0;
		}
	}
	return sonde_cli_fail(cli, SONDE_CLI_NOT_FOUND,
			      "no folder of %s beside the program: see --%s", flag, flag);
}

static bool is_layer(const char *text)
{
	for (const char *p = text; *p; p++) {
		if (!isupper((unsigned char)*p) && !isdigit((unsigned char)*p) && *p != '_')
			return false;
	}
	return *text && strlen(text) <= 32;
}

static int load_layer(struct sonde_cli *cli, const char *dir, const char *layer,
		      struct sonde_templates *t)
{
	_cleanup_free_ char *error = NULL;
	int r;

	if (!is_layer(layer))
		return sonde_cli_fail(
			cli, SONDE_CLI_USAGE,
			"--layer: expected names such as GENERAL,K8S_SERVICE, got '%s'", layer);
	for (size_t i = 0; i < t->n; i++) {
		if (strcmp(t->items[i].layer, layer) == 0)
			return sonde_cli_fail(cli, SONDE_CLI_USAGE, "--layer: %s is there twice",
					      layer);
	}
	r = sonde_templates_load(t, dir, layer, &error);
	if (r == 0)
		return 0;
	if (error)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s", error);
	if (r == -E2BIG)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s: more than %d dashboards", dir,
				      SONDE_TEMPLATES_MAX);
	if (r == -ENOENT)
		return sonde_cli_fail(cli, SONDE_CLI_NOT_FOUND, "%s: no dashboards there", dir);
	return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s: %s", dir, strerror(-r));
}

static int load_templates(struct sonde_cli *cli, struct sonde_templates *t)
{
	const char *layers = sonde_cli_flag(cli, "layer");
	_cleanup_free_ char *dir = NULL, *copy = strdup(layers ? layers : "GENERAL");
	char *rest = copy, *layer;
	int status;

	if (!copy)
		return sonde_cli_broken(cli, -ENOMEM);
	status = sonde_cli_find_folder(cli, "templates", "/../deploy/skywalking/booster",
				       "/../share/sonde/skywalking/booster", &dir);
	while (status == 0 && (layer = strsep(&rest, ",")))
		status = load_layer(cli, dir, layer, t);
	return status;
}

/* --- what the OAP has --- */

/* NULL: no configuration that Booster UI could read, so none of ours. */
static json_t *parse_configuration(const json_t *theirs)
{
	const json_t *text = json_object_get(theirs, "configuration");
	const char *bytes = json_string_value(text);
	size_t n = json_string_length(text);
	json_error_t error;

	if (!bytes || !sonde_json_shallow(bytes, n, DASHBOARD_DEPTH_MAX))
		return NULL;
	return json_loadb(bytes, n, 0, &error);
}

static int compare(struct sonde_template_row *row, const json_t *theirs,
		   const json_t *configuration)
{
	const char *id = json_string_value(json_object_get(theirs, "id"));
	int r;

	if (row->state != SONDE_TEMPLATE_ABSENT) {
		row->n_twins++;
		return 0;
	}
	r = sonde_template_judge(row->template, configuration, &row->state);
	if (r < 0)
		return r;
	row->id = strdup(id ? id : "");
	return row->id ? 0 : -ENOMEM;
}

static int compare_all(struct sonde_template_plan *p, const json_t *list)
{
	const json_t *theirs;
	size_t n;
	int r = 0;

	json_array_foreach(list, n, theirs)
	{
		json_auto_t *configuration = parse_configuration(theirs);

		for (size_t i = 0; r == 0 && configuration && i < p->templates.n; i++) {
			if (sonde_template_is(p->rows[i].template, configuration))
				r = compare(&p->rows[i], theirs, configuration);
		}
	}
	return r;
}

static enum sonde_template_action action_for(enum sonde_template_state state, bool force)
{
	switch (state) {
	case SONDE_TEMPLATE_ABSENT:
		return SONDE_TEMPLATE_ADD;
	case SONDE_TEMPLATE_CURRENT:
		return SONDE_TEMPLATE_KEEP;
	case SONDE_TEMPLATE_OLDER:
		return SONDE_TEMPLATE_REPLACE;
	default:
		return force ? SONDE_TEMPLATE_REPLACE : SONDE_TEMPLATE_LEAVE;
	}
}

int sonde_template_plan_make(struct sonde_cli *cli, struct sonde_template_plan *p)
{
	json_auto_t *data = NULL;
	int status, r;

	status = load_templates(cli, &p->templates);
	if (status == 0)
		status = sonde_oap_open(cli);
	if (status == 0)
		status = sonde_oap_ask_about(cli, &p->about);
	if (status == 0)
		status = sonde_oap_ask(cli, "{ list: getAllTemplates { id configuration } }", NULL,
				       &data);
	if (status != 0)
		return status;
	p->rows = calloc(p->templates.n, sizeof(*p->rows));
	if (!p->rows)
		return sonde_cli_broken(cli, -ENOMEM);
	for (size_t i = 0; i < p->templates.n; i++)
		p->rows[i].template = &p->templates.items[i];
	r = compare_all(p, json_object_get(data, "list"));
	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0; i < p->templates.n; i++)
		p->rows[i].action =
			action_for(p->rows[i].state, sonde_cli_flag(cli, "force") != NULL);
	return 0;
}

/* --- output --- */

static const char *action_words(const struct sonde_template_row *row, bool dry)
{
	static const char *const planned[] = {"none", "add", "replace", "leave"};
	static const char *const done[] = {"none", "added", "replaced", "left"};

	_Static_assert(ELEMENTS_OF(planned) == _SONDE_TEMPLATE_ACTION_MAX &&
			       ELEMENTS_OF(done) == _SONDE_TEMPLATE_ACTION_MAX,
		       "words for each");
	if (dry)
		return planned[row->action];
	if (row->action == SONDE_TEMPLATE_ADD || row->action == SONDE_TEMPLATE_REPLACE)
		return row->done ? done[row->action] : "not done";
	return done[row->action];
}

static enum sonde_style state_style(enum sonde_template_state state)
{
	return state == SONDE_TEMPLATE_CURRENT ? SONDE_STYLE_GREEN : SONDE_STYLE_YELLOW;
}

/* @action: with the column of install. */
int sonde_template_plan_print(struct sonde_cli *cli, const struct sonde_template_plan *p,
			      bool action)
{
	static const struct sonde_column with[] = {{"DASHBOARD", false, false},
						   {"LAYER", false, false},
						   {"ENTITY", false, false},
						   {"STATE", false, false},
						   {"ACTION", false, false},
						   {"ID", false, true},
						   {NULL}};
	static const struct sonde_column without[] = {
		{"DASHBOARD", false, false}, {"LAYER", false, false}, {"ENTITY", false, false},
		{"STATE", false, false},     {"ID", false, true},     {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	int r = sonde_table_new(action ? with : without, &t);

	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0; i < p->templates.n; i++) {
		const struct sonde_template_row *row = &p->rows[i];

		sonde_table_add(t, row->template->name);
		sonde_table_add(t, row->template->layer);
		sonde_table_add(t, row->template->entity);
		sonde_table_add_styled(t, state_style(row->state),
				       sonde_template_state_name(row->state));
		if (action)
			sonde_table_add(t, action_words(row, sonde_cli_flag(cli, "dry-run")));
		sonde_table_add(t, row->id);
	}
	return sonde_view_table(cli, t);
}

static json_t *template_json(const struct sonde_cli *cli, const struct sonde_template_row *row,
			     bool action)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:i, s:s?, s:I, s:s*}", "name", row->template->name,
			 "layer", row->template->layer, "entity", row->template->entity, "state",
			 sonde_template_state_name(row->state), "version", row->template->version,
			 "id", row->id, "twins", (json_int_t)row->n_twins, "action",
			 action ? action_words(row, sonde_cli_flag(cli, "dry-run")) : NULL);
}

/* @rules: taken, NULL = none. */
int sonde_template_plan_print_json(struct sonde_cli *cli, const struct sonde_template_plan *p,
				   bool action, json_t *rules)
{
	static const char *const updates[] = {"unknown", "off", "on"};
	json_auto_t *list = json_array();
	json_auto_t *all = NULL;

	for (size_t i = 0; i < p->templates.n; i++) {
		if (json_array_append_new(list, template_json(cli, &p->rows[i], action)) < 0) {
			json_decref(rules);
			return sonde_cli_broken(cli, -ENOMEM);
		}
	}
	all = json_pack("{s:{s:s, s:s, s:s}, s:O, s:o*}", "oap", "url",
			sonde_rest_server(cli->rest), "version", p->about.version,
			"template_updates", updates[p->about.updates], "templates", list, "rules",
			rules);
	return all ? sonde_cli_print_value(cli, all) : sonde_cli_broken(cli, -ENOMEM);
}

void sonde_template_plan_tell_twins(struct sonde_cli *cli, const struct sonde_template_plan *p)
{
	for (size_t i = 0; i < p->templates.n; i++) {
		if (p->rows[i].n_twins == 0)
			continue;
		sonde_cli_note(cli,
			       "%s of layer %s is there %zu times, and Booster UI takes any of "
			       "them: delete all but one in its list of dashboards",
			       p->rows[i].template->name, p->rows[i].template->layer,
			       p->rows[i].n_twins + 1);
	}
}

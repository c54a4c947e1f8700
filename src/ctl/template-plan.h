/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Template plan: our dashboards beside what an OAP has under their names, and what install would do about each. The functions
 * print faults themselves and return an exit status.
 */

#include "ctl/cli.h"
#include "ctl/oap.h"
#include "ctl/template.h"

enum sonde_template_action {
	SONDE_TEMPLATE_KEEP, /* it is what install would put there */
	SONDE_TEMPLATE_ADD,
	SONDE_TEMPLATE_REPLACE,
	SONDE_TEMPLATE_LEAVE, /* edited or newer, and not forced */
	_SONDE_TEMPLATE_ACTION_MAX,
};

/* One template of ours and what the OAP has under its name. */
struct sonde_template_row {
	const struct sonde_template *template; /* borrowed */
	enum sonde_template_state state;
	enum sonde_template_action action;
	char *id;	/* the OAP's, owned; NULL = absent */
	size_t n_twins; /* more of the same layer, entity and name */
	bool done;	/* the action was taken, and the state is the one behind it */
};

struct sonde_template_plan {
	struct sonde_templates templates;
	struct sonde_template_row *rows; /* one a template */
	struct sonde_oap_about about;
};

void sonde_template_plan_done(struct sonde_template_plan *p);
#define _cleanup_plan_ _cleanup_(sonde_template_plan_done)

/* Reads the files (--templates, --layer), opens the OAP, asks what it has. --force makes LEAVE to REPLACE. */
int sonde_template_plan_make(struct sonde_cli *cli, struct sonde_template_plan *p) _must_check_;

/* The folder that --@flag names, else @source or @installed beside the program, the first that is there. */
int sonde_cli_find_folder(struct sonde_cli *cli, const char *flag, const char *source,
			  const char *installed, char **ret) _must_check_;

/* @action: with the column of what is to be done, or was. */
int sonde_template_plan_print(struct sonde_cli *cli, const struct sonde_template_plan *p,
			      bool action);
/* @rules: taken, NULL = none. */
int sonde_template_plan_print_json(struct sonde_cli *cli, const struct sonde_template_plan *p,
				   bool action, json_t *rules);
/* Notes of those that are there more than once. */
void sonde_template_plan_tell_twins(struct sonde_cli *cli, const struct sonde_template_plan *p);

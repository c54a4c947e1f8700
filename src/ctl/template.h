/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Template: a dashboard of Booster UI, one a file of deploy/skywalking/booster, in the form of SkyWalking's own
 * (config/ui-initialized-templates): `[{"id", "configuration": {name, layer, entity, children, …}}]`. An OAP keeps it as
 * one text and knows no version of it, so the configuration has a member of ours, `sonde`: the version of the file and, once
 * installed, a digest of all else. By that an edited one is told from one that an older or newer `sonde` left there.
 */

#include <stdbool.h>

#include <jansson.h>

#include "base/cleanup.h"

#define SONDE_TEMPLATE_BYTES_MAX 900000 /* an OAP's column holds 1,000,000 characters */
#define SONDE_TEMPLATES_MAX 64

struct sonde_template {
	char *file;			   /* its name */
	json_t *configuration;		   /* with the layer that was asked for */
	const char *layer, *entity, *name; /* borrowed from it */
	int version;
};

struct sonde_templates {
	struct sonde_template *items;
	size_t n;
};
#define SONDE_TEMPLATES_INIT ((struct sonde_templates){0})

void sonde_templates_done(struct sonde_templates *t);
#define _cleanup_templates_ _cleanup_(sonde_templates_done)

/*
 * Appends every *.json of @dir, by name, for the layer @layer. *@ret_error: words about a file, owned by the caller.
 * Return: 0, -ENOENT (no folder, or nothing in it), -EINVAL with *@ret_error (no template, or it has no version), -E2BIG
 * (more than SONDE_TEMPLATES_MAX), -ENOMEM, -errno.
 */
int sonde_templates_load(struct sonde_templates *t, const char *dir, const char *layer,
			 char **ret_error) _must_check_;

enum sonde_template_state {
	SONDE_TEMPLATE_ABSENT,
	SONDE_TEMPLATE_CURRENT, /* what install would put there */
	SONDE_TEMPLATE_OLDER,	/* untouched since another, not newer `sonde` put it there */
	SONDE_TEMPLATE_NEWER,	/* untouched since a newer one did */
	SONDE_TEMPLATE_EDITED,	/* somebody changed it, or it was never ours */
	_SONDE_TEMPLATE_STATE_MAX,
};

const char *sonde_template_state_name(enum sonde_template_state state);

/* @theirs: the configuration that the OAP has under the template's layer, entity and name. -ENOMEM only. */
int sonde_template_judge(const struct sonde_template *t, const json_t *theirs,
			 enum sonde_template_state *ret) _must_check_;

/* Whether @configuration is under the layer, entity and name of @t. */
bool sonde_template_is(const struct sonde_template *t, const json_t *configuration);

/* What install sends: the configuration with its digest, as text. Owned by the caller; NULL: no memory. */
char *sonde_template_text(const struct sonde_template *t);

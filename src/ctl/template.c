/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/template.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/nesting.h"
#include "ctl/members.h"

#define DEPTH_MAX 16
#define MARK "sonde"
#define DIGEST_SIZE 17

void sonde_templates_done(struct sonde_templates *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->items[i].file);
		json_decref(t->items[i].configuration);
	}
	free(t->items);
	*t = SONDE_TEMPLATES_INIT;
}

const char *sonde_template_state_name(enum sonde_template_state state)
{
	static const char *const names[] = {"absent", "current", "older", "newer", "edited"};

	_Static_assert(ELEMENTS_OF(names) == _SONDE_TEMPLATE_STATE_MAX, "a name for each");
	assert(state < _SONDE_TEMPLATE_STATE_MAX);

	return names[state];
}

/* --- files --- */

static int bad(const char *path, const char *words, char **ret_error)
{
	if (asprintf(ret_error, "%s: %s", path, words) < 0) {
		*ret_error = NULL;
		return -ENOMEM;
	}
	return -EINVAL;
}

/* Takes @configuration where it returns 0. */
static int add(struct sonde_templates *t, const char *file, json_t *configuration)
{
	const json_t *version = json_object_get(json_object_get(configuration, MARK), "version");
	struct sonde_template *grown, *item;

	if (t->n == SONDE_TEMPLATES_MAX)
		return -E2BIG;
	grown = reallocarray(t->items, t->n + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	t->items = grown;
	item = &grown[t->n];
	*item = (struct sonde_template){.file = strdup(file)};
	if (!item->file)
		return -ENOMEM;
	item->configuration = configuration;
	item->layer = sonde_text_of(configuration, "layer");
	item->entity = sonde_text_of(configuration, "entity");
	item->name = sonde_text_of(configuration, "name");
	item->version = (int)json_integer_value(version);
	t->n++;
	return 0;
}

static bool is_template(const json_t *configuration)
{
	return *sonde_text_of(configuration, "name") && *sonde_text_of(configuration, "layer") &&
	       *sonde_text_of(configuration, "entity") &&
	       json_is_array(json_object_get(configuration, "children"));
}

static int load_one(struct sonde_templates *t, const char *dir, const char *file, const char *layer,
		    char **ret_error)
{
	_cleanup_buf_ struct sonde_buf text = SONDE_BUF_INIT(SONDE_TEMPLATE_BYTES_MAX);
	_cleanup_free_ char *path = NULL;
	json_auto_t *root = NULL;
	json_t *configuration;
	json_error_t error;
	int r;

	if (asprintf(&path, "%s/%s", dir, file) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = sonde_file_read(path, false, &text);
	if (r < 0)
		return r == -ENOMEM ? r : bad(path, sonde_file_error(r, false), ret_error);
	if (sonde_json_shallow(sonde_buf_str(&text), text.len, DEPTH_MAX))
		root = json_loadb(sonde_buf_str(&text), text.len, JSON_REJECT_DUPLICATES, &error);
	configuration = json_object_get(json_array_get(root, 0), "configuration");
	if (json_array_size(root) != 1 || !is_template(configuration))
		return bad(
			path,
			"expected [{\"id\", \"configuration\": {name, layer, entity, children}}]",
			ret_error);
	if (json_integer_value(json_object_get(json_object_get(configuration, MARK), "version")) <
	    1)
		return bad(path, "the configuration has no " MARK ".version", ret_error);
	if (json_object_set_new(configuration, "layer", json_string(layer)) < 0)
		return bad(path, "the layer is no UTF-8", ret_error);
	r = add(t, file, configuration);
	if (r == 0)
		json_incref(configuration);
	return r;
}

static int is_json(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return n > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + n - 5, ".json") == 0;
}

int sonde_templates_load(struct sonde_templates *t, const char *dir, const char *layer,
			 char **ret_error)
{
	struct dirent **names = NULL;
	int n, r;

	assert(t && dir && layer && ret_error);

	n = scandir(dir, &names, is_json, alphasort);
	if (n < 0)
		return -errno;
	r = n == 0 ? -ENOENT : 0;
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = load_one(t, dir, names[i]->d_name, layer, ret_error);
		free(names[i]);
	}
	free(names);
	return r;
}

/* --- what an OAP has --- */

/* Of all but our own member. */
static int digest(const json_t *configuration, char ret[static DIGEST_SIZE])
{
	json_auto_t *bare = json_copy((json_t *)configuration); /* its members are shared */
	_cleanup_free_ char *text = NULL;

	if (!bare)
		return -ENOMEM;
	(void)json_object_del(bare, MARK);
	text = json_dumps(bare, JSON_COMPACT | JSON_SORT_KEYS);
	if (!text)
		return -ENOMEM;
	(void)snprintf(ret, DIGEST_SIZE, "%016" PRIx64, sonde_hash(text, strlen(text), 0));
	return 0;
}

bool sonde_template_is(const struct sonde_template *t, const json_t *configuration)
{
	return strcmp(t->layer, sonde_text_of(configuration, "layer")) == 0 &&
	       strcmp(t->entity, sonde_text_of(configuration, "entity")) == 0 &&
	       strcmp(t->name, sonde_text_of(configuration, "name")) == 0;
}

int sonde_template_judge(const struct sonde_template *t, const json_t *theirs,
			 enum sonde_template_state *ret)
{
	const json_t *mark = json_object_get(theirs, MARK);
	char mine[DIGEST_SIZE], have[DIGEST_SIZE];
	int r;

	assert(t && ret);

	r = digest(t->configuration, mine);
	if (r == 0)
		r = digest(theirs, have);
	if (r < 0)
		return r;
	if (strcmp(mine, have) == 0)
		*ret = SONDE_TEMPLATE_CURRENT;
	else if (strcmp(sonde_text_of(mark, "digest"), have) != 0)
		*ret = SONDE_TEMPLATE_EDITED;
	else if (json_integer_value(json_object_get(mark, "version")) > t->version)
		*ret = SONDE_TEMPLATE_NEWER;
	else
		*ret = SONDE_TEMPLATE_OLDER;
	return 0;
}

char *sonde_template_text(const struct sonde_template *t)
{
	json_auto_t *sent = json_copy(t->configuration);
	char hex[DIGEST_SIZE];

	if (!sent || digest(t->configuration, hex) < 0)
		return NULL;
	if (json_object_set_new(sent, MARK,
				json_pack("{s:i, s:s}", "version", t->version, "digest", hex)) < 0)
		return NULL;
	return json_dumps(sent, JSON_COMPACT);
}

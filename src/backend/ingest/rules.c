/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/ingest/rules.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "config/yaml.h"

static void on_found(void *ctx, const struct sonde_mal_diagnostic *d)
{
	(void)sonde_log_warn(0, "%s:%u:%u: %s%s%s, ignoring it", d->file, d->line, d->column,
			     d->rule ? d->rule : "", d->rule ? ": " : "", d->message);
}

static int load_file(struct sonde_rule_set *s, const char *dir, const char *name)
{
	_cleanup_free_ char *text = NULL, *path = NULL;
	struct sonde_mal_rules *rules = NULL;
	size_t len = 0;
	int r;

	if (asprintf(&path, "%s/%s", dir, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = sonde_yaml_read_file(path, SONDE_MAL_FILE_BYTES, &text, &len);
	if (r == 0)
		r = sonde_mal_rules_load(path, text, len,
					 (struct sonde_mal_report){.found = on_found}, &rules);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		s->bad++;
		(void)sonde_log_warn(r, "cannot load the rule file %s, ignoring", path);
		return 0;
	}
	s->bad += (size_t)r;
	s->rules += sonde_mal_rules_count(rules);
	s->files[s->n_files++] = rules;
	return 0;
}

static int is_rule_file(const struct dirent *e)
{
	return e->d_name[0] != '.' &&
	       (fnmatch("*.yaml", e->d_name, 0) == 0 || fnmatch("*.yml", e->d_name, 0) == 0);
}

static void free_names(struct dirent **names, int n)
{
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

int sonde_rule_set_load(const char *dir, struct sonde_rule_set *ret)
{
	struct sonde_rule_set s = {0};
	struct dirent **names = NULL;
	int n, r = 0;

	if (dir[0] == '\0') {
		*ret = s;
		return 0;
	}
	n = scandir(dir, &names, is_rule_file, alphasort);
	if (n < 0)
		return -errno;
	if (n > SONDE_RULE_FILES_MAX)
		r = -E2BIG;
	if (r == 0) {
		s.files = calloc((size_t)n + 1, sizeof(struct sonde_mal_rules *));
		r = s.files ? 0 : -ENOMEM;
	}
	for (int i = 0; i < n && r == 0; i++)
		r = load_file(&s, dir, names[i]->d_name);
	free_names(names, n);
	if (r < 0) {
		sonde_rule_set_done(&s);
		return r;
	}
	*ret = s;
	return 0;
}

void sonde_rule_set_done(struct sonde_rule_set *s)
{
	for (size_t i = 0; i < s->n_files; i++)
		(void)sonde_mal_rules_free(s->files[i]);
	free(s->files);
	*s = (struct sonde_rule_set){0};
}

const struct sonde_mal_rule *sonde_rule_set_find(const struct sonde_rule_set *s, const char *metric)
{
	for (size_t i = 0; i < s->n_files; i++) {
		const struct sonde_mal_rule *rule = sonde_mal_rules_find(s->files[i], metric);

		if (rule)
			return rule;
	}
	return NULL;
}

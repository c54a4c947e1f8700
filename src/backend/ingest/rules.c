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

/* A hostile or generated file may have thousands: some lines of each. */
#define LINES_MAX 20

struct findings {
	struct sonde_rule_file *file;
	unsigned n;
};

static void on_found(void *ctx, const struct sonde_mal_diagnostic *d)
{
	struct findings *f = ctx;

	if (f->n++ == 0)
		(void)snprintf(f->file->problem, sizeof(f->file->problem), "%u:%u: %s%s%s", d->line,
			       d->column, d->rule ? d->rule : "", d->rule ? ": " : "", d->message);
	if (f->n <= LINES_MAX)
		(void)sonde_log_warn(0, "%s:%u:%u: %s%s%s", d->file, d->line, d->column,
				     d->rule ? d->rule : "", d->rule ? ": " : "", d->message);
}

static void file_done(struct sonde_rule_file *f)
{
	(void)sonde_mal_rules_free(f->rules);
	free(f->name);
	*f = (struct sonde_rule_file){0};
}

/*
 * What could not be read has a problem and no rules; what is the same as @old (may be NULL) has no rules and the
 * problem of that. Return: 0, -ENOMEM.
 */
static int read_file(const char *dir, const char *name, const struct sonde_rule_file *old,
		     struct sonde_rule_file *ret)
{
	_cleanup_(file_done) struct sonde_rule_file f = {0};
	struct findings findings = {.file = &f};
	_cleanup_free_ char *text = NULL, *path = NULL;
	size_t len = 0;
	int r;

	f.name = strdup(name);
	if (asprintf(&path, "%s/%s", dir, name) < 0)
		path = NULL;
	if (!f.name || !path)
		return -ENOMEM;
	r = sonde_yaml_read_file(path, SONDE_MAL_FILE_BYTES, &text, &len);
	if (r == 0)
		r = sonde_id_digest(text ? text : "", len, SONDE_ID_DIGEST_BYTES, f.digest);
	if (r == 0 && old && strcmp(old->digest, f.digest) == 0) {
		memcpy(f.problem, old->problem, sizeof(f.problem));
		f.bad = old->bad;
		*ret = f;
		f = (struct sonde_rule_file){0};
		return 0;
	}
	if (r == 0)
		r = sonde_mal_rules_load(
			path, text, len,
			(struct sonde_mal_report){.found = on_found, .ctx = &findings}, &f.rules);
	if (r == -ENOMEM)
		return r;
	if (r < 0 && !f.problem[0]) {
		(void)snprintf(f.problem, sizeof(f.problem), "cannot be read: %s", strerror(-r));
		(void)sonde_log_warn(r, "cannot load the rule file %s", path);
	}
	if (findings.n > LINES_MAX)
		(void)sonde_log_warn(0, "%s: and %u more", path, findings.n - LINES_MAX);
	f.bad = r > 0 ? (size_t)r : r < 0;
	*ret = f;
	f = (struct sonde_rule_file){0};
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

static void count(struct sonde_rule_set *s)
{
	s->rules = s->bad = 0;
	for (size_t i = 0; i < s->n; i++) {
		s->rules += s->v[i].rules ? sonde_mal_rules_count(s->v[i].rules) : 0;
		s->bad += s->v[i].bad;
	}
}

static struct sonde_rule_file *find_file(const struct sonde_rule_set *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->v[i].name, name) == 0)
			return &s->v[i];
	return NULL;
}

/* All files of @dir as they are now, but for the rules of those that are as in @old. */
static int read_all(const char *dir, const struct sonde_rule_set *old, struct sonde_rule_set *ret)
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
		s.v = calloc((size_t)n + 1, sizeof(*s.v));
		r = s.v ? 0 : -ENOMEM;
	}
	for (int i = 0; i < n && r == 0; i++) {
		r = read_file(dir, names[i]->d_name, find_file(old, names[i]->d_name), &s.v[s.n]);
		s.n += r == 0;
	}
	free_names(names, n);
	if (r < 0) {
		sonde_rule_set_done(&s);
		return r;
	}
	*ret = s;
	return 0;
}

int sonde_rule_set_load(const char *dir, struct sonde_rule_set *ret)
{
	const struct sonde_rule_set none = {0};
	int r = read_all(dir, &none, ret);

	if (r < 0)
		return r;
	count(ret);
	return 0;
}

/* @now takes the rules of @old where its own are not to be taken, or are the same. */
static void settle(struct sonde_rule_file *old, struct sonde_rule_file *now,
		   struct sonde_rule_change *change)
{
	bool same = old && now->digest[0] && strcmp(old->digest, now->digest) == 0;

	if (!same && !now->problem[0]) {
		change->taken++;
		return;
	}
	if (!same) {
		change->refused++;
		(void)sonde_log_warn(0, "%s is not taken: %s; %s", now->name, now->problem,
				     old && old->rules ? "what was read before stays in force"
						       : "none of its rules are in force");
	}
	(void)sonde_mal_rules_free(now->rules);
	now->rules = old ? TAKE_PTR(old->rules) : NULL;
}

int sonde_rule_set_reload(struct sonde_rule_set *s, const char *dir, struct sonde_rule_change *ret)
{
	struct sonde_rule_set now = {0};
	int r = read_all(dir, s, &now);

	if (r < 0)
		return r;
	*ret = (struct sonde_rule_change){0};
	for (size_t i = 0; i < s->n; i++)
		ret->removed += !find_file(&now, s->v[i].name);
	for (size_t i = 0; i < now.n; i++)
		settle(find_file(s, now.v[i].name), &now.v[i], ret);
	sonde_rule_set_done(s);
	*s = now;
	count(s);
	return 0;
}

void sonde_rule_set_done(struct sonde_rule_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		file_done(&s->v[i]);
	free(s->v);
	*s = (struct sonde_rule_set){0};
}

const struct sonde_mal_rule *sonde_rule_set_find(const struct sonde_rule_set *s, const char *metric)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct sonde_mal_rule *rule =
			s->v[i].rules ? sonde_mal_rules_find(s->v[i].rules, metric) : NULL;

		if (rule)
			return rule;
	}
	return NULL;
}

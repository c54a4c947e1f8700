/* SPDX-License-Identifier: Apache-2.0 */
/* YAML tree, environment and flags -> the struct, with a complaint for each fault. */
#include "config/load.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config/args.h"
#include "config/hint.h"

void sonde_config_complain(struct sonde_config_faults *f, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	if (f->n++ >= SONDE_CONFIG_ERRORS_MAX)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	/* keys and values are the file's: nothing of theirs may steer a terminal */
	for (char *p = line; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	}
	if (f->n > 1)
		f->error = sonde_buf_append(&f->text, "\n", 1) < 0 ? -ENOMEM : f->error;
	if (sonde_buf_printf(&f->text, "%s", line) < 0)
		f->error = -ENOMEM;
}

int sonde_config_verdict(struct sonde_config_faults *f, char **ret_error)
{
	if (f->error < 0)
		return f->error;
	if (f->n == 0)
		return 0;
	if (f->n > SONDE_CONFIG_ERRORS_MAX &&
	    sonde_buf_printf(&f->text, "\nand %u more", f->n - SONDE_CONFIG_ERRORS_MAX) < 0)
		return -ENOMEM;
	*ret_error = (char *)TAKE_PTR(f->text.data);
	return -EINVAL;
}

/* "FILE:LINE: key 'x.y'": where a complaint of the file begins. */
struct place {
	struct sonde_config_faults *faults;
	const char *file;
	const struct sonde_option *table;
	const char *outer; /* of the list element we are in: "processes.rules[0].", or "" */
};

static void complain_at(const struct place *at, unsigned int line, const char *key,
			const char *words)
{
	sonde_config_complain(at->faults, "%s:%u: key '%s%s': %s", at->file, line, at->outer, key,
			      words);
}

void sonde_config_expected(struct sonde_config_faults *f, const char *where,
			   const struct sonde_option *o, const char *got)
{
	_cleanup_buf_ struct sonde_buf words = SONDE_BUF_INIT(512);
	bool secret = o->flags & SONDE_OPTION_SECRET;

	if (sonde_option_expected(o, &words) < 0)
		sonde_buf_reset(&words); /* the place alone is better than nothing */
	if (got && !secret)
		sonde_config_complain(f, "%s: expected %s, got '%.64s'", where,
				      sonde_buf_str(&words), got);
	else
		sonde_config_complain(f, "%s: expected %s", where, sonde_buf_str(&words));
}

static void expected_at(const struct place *at, unsigned int line, const struct sonde_option *o,
			const char *got)
{
	char where[512];

	(void)snprintf(where, sizeof(where), "%s:%u: key '%s%s'", at->file, line, at->outer,
		       o->key);
	sonde_config_expected(at->faults, where, o, got);
}

static const char *describe(const struct sonde_yaml_node *node)
{
	switch (node->kind) {
	case SONDE_YAML_NULL:
		return "nothing";
	case SONDE_YAML_SCALAR:
		return node->text;
	case SONDE_YAML_SEQUENCE:
		return "a list";
	case SONDE_YAML_MAPPING:
		return "a mapping";
	}
	return "nothing";
}

/* Is a quoted text as good as the bare one? */
static bool takes_quotes(enum sonde_option_type type)
{
	return type != SONDE_OPTION_TYPE_BOOL && type != SONDE_OPTION_TYPE_UINT &&
	       type != SONDE_OPTION_TYPE_INT && type != SONDE_OPTION_TYPE_PORT;
}

static int apply_scalar(const struct place *at, const struct sonde_option *o, void *base,
			const struct sonde_yaml_node *node)
{
	int r = -EINVAL;

	if (node->kind == SONDE_YAML_SCALAR && (!node->quoted || takes_quotes(o->type)))
		r = sonde_option_set(o, base, node->text);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		expected_at(at, node->line, o, describe(node));
	return 0;
}

static int apply_strings(const struct place *at, const struct sonde_option *o, void *base,
			 const struct sonde_yaml_node *node)
{
	int r;

	if (node->kind != SONDE_YAML_SEQUENCE && node->kind != SONDE_YAML_NULL) {
		expected_at(at, node->line, o, describe(node));
		return 0;
	}
	/* the list replaces the default, it does not add to it */
	r = sonde_option_set(o, base, "");
	if (r < 0)
		return r;
	for (size_t i = 0; i < node->n_children; i++) {
		const struct sonde_yaml_node *item = node->children[i];

		r = item->kind == SONDE_YAML_SCALAR ? sonde_option_add(o, base, item->text)
						    : -EINVAL;
		if (r == -ENOMEM)
			return r;
		if (r < 0) {
			expected_at(at, item->line, o, describe(item));
			return 0;
		}
	}
	return 0;
}

static int apply_mapping(const struct place *at, void *base, const char *prefix,
			 const struct sonde_yaml_node *node);

static int apply_element(const struct place *at, const struct sonde_option *o, void *base, size_t i,
			 const struct sonde_yaml_node *node)
{
	char outer[SONDE_CONFIG_KEY_MAX * 2];
	struct place inner = *at;
	int r;

	(void)snprintf(outer, sizeof(outer), "%.*s%s[%zu].", SONDE_CONFIG_KEY_MAX, at->outer,
		       o->key, i);
	inner.outer = outer;
	inner.table = o->element;
	base = sonde_option_element(o, base, i);
	r = sonde_option_defaults(o->element, base);
	if (r < 0)
		return r;
	r = apply_mapping(&inner, base, "", node);
	if (r < 0)
		return r;
	for (const struct sonde_option *e = o->element; e->key; e++) {
		if (sonde_option_missing(e, base))
			complain_at(&inner, node->line, e->key, "expected a value, it is required");
	}
	return 0;
}

static int apply_list(const struct place *at, const struct sonde_option *o, void *base,
		      const struct sonde_yaml_node *node)
{
	int r;

	if (node->kind == SONDE_YAML_NULL)
		return 0;
	if (node->kind != SONDE_YAML_SEQUENCE || node->n_children > sonde_option_limit(o)) {
		expected_at(at, node->line, o,
			    node->kind == SONDE_YAML_SEQUENCE ? "more" : describe(node));
		return 0;
	}
	for (size_t i = 0; i < node->n_children; i++) {
		if (node->children[i]->kind != SONDE_YAML_MAPPING) {
			expected_at(at, node->children[i]->line, o, describe(node->children[i]));
			return 0;
		}
	}
	r = sonde_option_make_list(o, base, node->n_children);
	for (size_t i = 0; r == 0 && i < node->n_children; i++)
		r = apply_element(at, o, base, i, node->children[i]);
	return r;
}

static void complain_unknown(const struct place *at, const struct sonde_yaml_node *node,
			     const char *key)
{
	char near[SONDE_CONFIG_KEY_MAX], words[SONDE_CONFIG_KEY_MAX + 64];

	if (sonde_hint_key(at->table, key, near))
		(void)snprintf(words, sizeof(words), "expected a known key, such as '%s'", near);
	else
		(void)snprintf(words, sizeof(words), "expected a known key");
	complain_at(at, node->line, key, words);
}

static bool is_section(const struct sonde_option *table, const char *key)
{
	size_t n = strlen(key);

	for (const struct sonde_option *o = table; o->key; o++) {
		if (strncmp(o->key, key, n) == 0 && o->key[n] == '.')
			return true;
	}
	return false;
}

static const struct sonde_option *find_option(const struct sonde_option *table, const char *key)
{
	for (const struct sonde_option *o = table; o->key; o++) {
		if (strcmp(o->key, key) == 0)
			return o;
	}
	return NULL;
}

static int apply_entry(const struct place *at, void *base, const char *prefix,
		       const struct sonde_yaml_node *node)
{
	char key[SONDE_CONFIG_KEY_MAX];
	const struct sonde_option *o;
	int n;

	n = snprintf(key, sizeof(key), "%s%s", prefix, node->key);
	/* with a dot in one word a key could be written twice */
	if (n < 0 || (size_t)n >= sizeof(key) || strchr(node->key, '.') || !*node->key) {
		complain_at(at, node->line, key, "expected a known key, one word a level");
		return 0;
	}
	o = find_option(at->table, key);
	if (!o && is_section(at->table, key)) {
		(void)snprintf(key, sizeof(key), "%s%s.", prefix, node->key);
		if (node->kind == SONDE_YAML_MAPPING || node->kind == SONDE_YAML_NULL)
			return apply_mapping(at, base, key, node);
		key[n] = '\0';
		complain_at(at, node->line, key, "expected a mapping");
		return 0;
	}
	if (!o) {
		complain_unknown(at, node, key);
		return 0;
	}
	if (o->type == SONDE_OPTION_TYPE_LIST)
		return apply_list(at, o, base, node);
	if (o->type == SONDE_OPTION_TYPE_STRINGS)
		return apply_strings(at, o, base, node);
	return apply_scalar(at, o, base, node);
}

static int apply_mapping(const struct place *at, void *base, const char *prefix,
			 const struct sonde_yaml_node *node)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < node->n_children; i++)
		r = apply_entry(at, base, prefix, node->children[i]);
	return r;
}

int sonde_config_apply_text(const struct sonde_config_spec *spec, const char *text, size_t len,
			    const char *name, struct sonde_config_faults *f, void *config)
{
	_cleanup_(sonde_yaml_freep) struct sonde_yaml_node *root = NULL;
	_cleanup_free_ char *words = NULL;
	struct place at = {.faults = f, .file = name, .table = spec->options, .outer = ""};
	int r;

	r = sonde_yaml_parse(text, len, name, &root, &words);
	if (r == -EINVAL) {
		sonde_config_complain(f, "%s", words);
		return 0;
	}
	if (r < 0)
		return r;
	if (root->kind != SONDE_YAML_MAPPING) {
		sonde_config_complain(f, "%s:%u: expected a mapping of keys", name, root->line);
		return 0;
	}
	return apply_mapping(&at, config, "", root);
}

int sonde_config_apply_env(const struct sonde_config_spec *spec, struct sonde_config_faults *f,
			   void *config)
{
	char name[SONDE_CONFIG_KEY_MAX * 2], where[SONDE_CONFIG_KEY_MAX * 2 + 32];

	for (const struct sonde_option *o = spec->options; o->key; o++) {
		const char *value;
		int r;

		if (!sonde_option_env(spec, o, name))
			continue;
		value = getenv(name);
		if (!value)
			continue;
		r = sonde_option_set(o, config, value);
		if (r == -ENOMEM)
			return r;
		if (r < 0) {
			(void)snprintf(where, sizeof(where), "environment: %s", name);
			sonde_config_expected(f, where, o, value);
		}
	}
	return 0;
}

/* Do @words name the key, or the section that it is in ("'grpc.tls'", "backend.tls: …")? */
static bool mentions(const char *words, const char *key)
{
	const char *dot = strrchr(key, '.');
	const size_t lengths[] = {strlen(key), dot ? (size_t)(dot - key) : 0};

	for (size_t i = 0; i < ELEMENTS_OF(lengths) && lengths[i] > 0; i++) {
		for (const char *at = words; (at = memmem(at, strlen(at), key, lengths[i])); at++) {
			if ((at == words || at[-1] == '\'' || at[-1] == ' ') &&
			    strchr("': [", at[lengths[i]]))
				return true;
		}
	}
	return false;
}

/* A flag that was given, else a variable: what is wrong may not be the file's. False: it is. */
static bool find_culprit(const struct sonde_config_spec *spec, const struct sonde_config_args *args,
			 const char *words, char where[static SONDE_CONFIG_KEY_MAX * 2 + 32])
{
	char flag[SONDE_CONFIG_KEY_MAX], name[SONDE_CONFIG_KEY_MAX * 2];

	for (size_t i = args ? args->n_flags : 0; i > 0; i--) {
		const struct sonde_option *o = args->flags[i - 1].option;

		if (!o || !mentions(words, o->key) || !sonde_option_flag(o, flag))
			continue;
		(void)snprintf(where, SONDE_CONFIG_KEY_MAX * 2 + 32, "--%s", flag);
		return true;
	}
	for (const struct sonde_option *o = spec->options; o->key; o++) {
		if (!mentions(words, o->key) || !sonde_option_env(spec, o, name) || !getenv(name))
			continue;
		(void)snprintf(where, SONDE_CONFIG_KEY_MAX * 2 + 32, "environment: %s", name);
		return true;
	}
	return false;
}

int sonde_config_finish(const struct sonde_config_spec *spec, const struct sonde_config_args *args,
			const char *name, struct sonde_config_faults *f, void *config)
{
	char where[SONDE_CONFIG_KEY_MAX * 2 + 32];
	_cleanup_free_ char *words = NULL;
	int r;

	for (const struct sonde_option *o = spec->options; o->key; o++) {
		if (sonde_option_missing(o, config))
			sonde_config_complain(f, "%s: key '%s': expected a value, it is required",
					      name, o->key);
	}
	if (f->n > 0 || !spec->check) /* a check may trust the types and ranges */
		return 0;
	r = spec->check(config, &words);
	if (r == -EINVAL) {
		if (words && find_culprit(spec, args, words, where))
			name = where;
		sonde_config_complain(f, "%s: %s", name, words ? words : "refused");
		return 0;
	}
	return r;
}

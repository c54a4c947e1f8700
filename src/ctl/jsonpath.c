/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/jsonpath.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/num.h"
#include "ctl/term.h"

enum step_kind {
	STEP_NAME,
	STEP_INDEX,
	STEP_ALL
};

struct step {
	enum step_kind kind;
	const char *name; /* borrowed from the template, not ended */
	size_t len;
	int64_t index;
};

struct path {
	struct step steps[SONDE_JSONPATH_STEPS_MAX];
	size_t n;
};

/* Words, with where in the template. Return: -EINVAL, -ENOMEM. */
static int refuse(char **ret_words, const char *text, const char *at, const char *words)
{
	if (ret_words && asprintf(ret_words, "column %td: %s", at - text + 1, words) < 0) {
		*ret_words = NULL;
		return -ENOMEM;
	}
	return -EINVAL;
}

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || (unsigned char)c >= 0x80;
}

/* "['key']", "[0]", "[-1]", "[*]", behind the bracket. NULL on success, else what is wrong. */
static const char *read_bracket(const char **at, struct step *ret)
{
	const char *p = *at, *end;
	char digits[24];

	if (*p == '\'' || *p == '"') {
		end = strchr(p + 1, *p);
		if (!end || end[1] != ']')
			return "expected ['name']";
		*ret = (struct step){STEP_NAME, p + 1, (size_t)(end - p - 1), 0};
		*at = end + 2;
		return NULL;
	}
	end = strchr(p, ']');
	if (!end || end == p)
		return "expected [n], [*] or ['name']";
	*at = end + 1;
	if (end == p + 1 && *p == '*') {
		*ret = (struct step){.kind = STEP_ALL};
		return NULL;
	}
	if (*p == '?')
		return "a filter is not supported; use -o json and jq";
	if (memchr(p, ':', (size_t)(end - p)) || memchr(p, ',', (size_t)(end - p)))
		return "a slice or union is not supported; use -o json and jq";
	(void)snprintf(digits, sizeof(digits), "%.*s", (int)(end - p > 23 ? 23 : end - p), p);
	*ret = (struct step){.kind = STEP_INDEX};
	if (sonde_parse_i64(digits, -1000000, 1000000, &ret->index) < 0)
		return "expected [n], [*] or ['name']";
	return NULL;
}

/* ".name", ".*", behind the dot. */
static const char *read_name(const char **at, struct step *ret)
{
	const char *p = *at;

	if (*p == '.')
		return "`..` is not supported; use -o json and jq";
	if (*p == '*') {
		*ret = (struct step){.kind = STEP_ALL};
		*at = p + 1;
		return NULL;
	}
	while (is_name(*p))
		p++;
	if (p == *at)
		return "expected a name behind the dot";
	*ret = (struct step){STEP_NAME, *at, (size_t)(p - *at), 0};
	*at = p;
	return NULL;
}

/* A path up to @stop ('}', or the text's end). Return: 0, -EINVAL, -ENOMEM. */
static int read_path(const char *text, const char **at, char stop, struct path *ret,
		     char **ret_words)
{
	const char *p = *at, *wrong = NULL;

	ret->n = 0;
	if (*p == '$' || *p == '@')
		p++;
	if (*p == '.' && p[1] == stop) /* the whole */
		p++;
	while (*p && *p != stop) {
		const char *begin = p;

		if (ret->n == SONDE_JSONPATH_STEPS_MAX)
			return refuse(ret_words, text, p, "too many steps");
		if (*p == '.' && p[1] == '[')
			p++;
		if (*p == '[') {
			p++;
			wrong = read_bracket(&p, &ret->steps[ret->n++]);
		} else if (*p == '.') {
			p++;
			wrong = read_name(&p, &ret->steps[ret->n++]);
		} else {
			wrong = strncmp(p, "range", 5) == 0 || strncmp(p, "end", 3) == 0
					? "range and end are not supported; use -o jsonl, or one "
					  "path with [*]"
					: "expected a path such as .tasks[*].id";
		}
		if (wrong)
			return refuse(ret_words, text, begin, wrong);
	}
	if (*p != stop)
		return refuse(ret_words, text, p, "expected a closing }");
	*at = p;
	return 0;
}

struct hit {
	const json_t *value; /* borrowed */
};

struct found {
	struct hit *hits; /* owned */
	size_t n, cap;
};

static int find(struct found *f, const json_t *value)
{
	size_t cap = f->cap ? f->cap * 2 : 16;
	struct hit *grown;

	if (!value)
		return 0;
	if (f->n == SONDE_JSONPATH_FOUND_MAX)
		return -EMSGSIZE;
	if (f->n == f->cap) {
		grown = realloc(f->hits, cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		f->hits = grown;
		f->cap = cap;
	}
	f->hits[f->n++].value = value;
	return 0;
}

static int find_all(struct found *f, const json_t *value)
{
	json_t *member,
		*object = (json_t *)value; /* the loop's macro is not const-clean; it only reads */
	const char *key;
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(value); i++)
		r = find(f, json_array_get(value, i));
	json_object_foreach(object, key, member)
	{
		if (r == 0)
			r = find(f, member);
	}
	return r;
}

static const json_t *member_of(const json_t *value, const struct step *s)
{
	char name[SONDE_JSONPATH_TEXT_MAX + 1];

	(void)snprintf(name, sizeof(name), "%.*s", (int)s->len, s->name);
	return json_object_get(value, name);
}

static int take_step(const struct step *s, const struct found *from, struct found *to)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < from->n; i++) {
		const json_t *value = from->hits[i].value;
		size_t n = json_array_size(value);

		if (s->kind == STEP_ALL)
			r = find_all(to, value);
		else if (s->kind == STEP_NAME)
			r = find(to, member_of(value, s));
		else if (s->index >= 0)
			r = find(to, json_array_get(value, (size_t)s->index));
		else if ((size_t)-s->index <= n)
			r = find(to, json_array_get(value, n - (size_t)-s->index));
	}
	return r;
}

/* `.items` of an answer that names its list otherwise. */
static void name_items(struct path *path, const json_t *root, const char *items)
{
	struct step *s = &path->steps[0];

	if (!items || path->n == 0 || s->kind != STEP_NAME || s->len != 5 ||
	    strncmp(s->name, "items", 5) != 0 || json_object_get(root, "items"))
		return;
	s->name = items;
	s->len = strlen(items);
}

static int append_value(const json_t *value, struct sonde_buf *out)
{
	_cleanup_free_ char *text = NULL;

	if (json_is_string(value)) /* a line end in it would look like the template's */
		return sonde_term_escape(json_string_value(value), json_string_length(value), out);
	text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	return text ? sonde_buf_append(out, text, strlen(text)) : -ENOMEM;
}

static int append_found(const struct found *f, struct sonde_buf *out)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < f->n; i++) {
		if (i > 0)
			r = sonde_buf_append(out, " ", 1);
		if (r == 0)
			r = append_value(f->hits[i].value, out);
	}
	return r;
}

static int eval_path(const struct path *path, const json_t *root, struct sonde_buf *out)
{
	struct found from = {0};
	int r = find(&from, root);

	for (size_t i = 0; r == 0 && i < path->n; i++) {
		struct found to = {0};

		r = take_step(&path->steps[i], &from, &to);
		free(from.hits);
		from = to;
	}
	if (r == 0)
		r = append_found(&from, out);
	free(from.hits);
	return r;
}

/* {"\n"}: what is in the quotes, its escapes \n, \t, \\ and \" undone. */
static int read_text(const char *text, const char **at, struct sonde_buf *out, char **ret_words)
{
	const char *p = *at + 1;
	int r = 0;

	for (; r == 0 && *p && *p != '"'; p++) {
		char c = *p;

		if (c == '\\' && p[1])
			c = *++p == 'n' ? '\n' : *p == 't' ? '\t' : *p;
		if (out)
			r = sonde_buf_append(out, &c, 1);
	}
	if (r < 0)
		return r;
	if (*p != '"' || p[1] != '}')
		return refuse(ret_words, text, p, "expected \"} here");
	*at = p + 1;
	return 0;
}

/* With @root NULL it only checks. */
static int walk(const char *text, const json_t *root, const char *items, struct sonde_buf *out,
		char **ret_words)
{
	/* kubectl takes a lone path without braces */
	bool bare = text[0] == '.' || text[0] == '$';
	const char *p = text;
	struct path path;
	int r = 0;

	if (strlen(text) > SONDE_JSONPATH_TEXT_MAX)
		return refuse(ret_words, text, text, "the template is longer than 4096 bytes");
	while (r == 0 && *p) {
		if (!bare && *p != '{') {
			if (root)
				r = sonde_buf_append(out, p, 1);
			p++;
			continue;
		}
		p += bare ? 0 : 1;
		if (*p == '"') {
			r = read_text(text, &p, root ? out : NULL, ret_words);
		} else {
			r = read_path(text, &p, bare ? '\0' : '}', &path, ret_words);
			if (r == 0)
				name_items(&path, root, items);
			if (r == 0 && root)
				r = eval_path(&path, root, out);
		}
		p += r == 0 && !bare ? 1 : 0;
	}
	return r;
}

int sonde_jsonpath_check(const char *text, char **ret_words)
{
	assert(text && ret_words);

	if (!strchr(text, '{') && text[0] != '.' && text[0] != '$')
		return refuse(ret_words, text, text, "expected a path such as {.items[*].id}");
	return walk(text, NULL, NULL, NULL, ret_words);
}

int sonde_jsonpath_eval(const char *text, const json_t *root, const char *items,
			struct sonde_buf *out)
{
	assert(text && root && out);

	return walk(text, root, items, out, NULL);
}

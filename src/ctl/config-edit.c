/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/config-edit.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "config/config.h"
#include "config/yaml.h"

#define TEXT_MAX SONDE_CONFIG_FILE_MAX

struct edit {
	const char *text;
	const struct sonde_yaml_node *root;
	struct sonde_buf out;
	char **ret_error;
};

static int by_hand(struct edit *e, const char *key)
{
	return sonde_config_refuse(
		e->ret_error, "'%s' cannot be set in a file of this form: edit it by hand", key);
}

static bool is_plain(const char *value)
{
	if (!isalnum((unsigned char)*value) && *value != '/')
		return false;
	for (const char *p = value; *p; p++) {
		bool colon = *p == ':' && p[1] && p[1] != ' ';

		if (!isalnum((unsigned char)*p) && !strchr("._/+@-", *p) && !colon)
			return false;
	}
	return true;
}

/* Plain where it can only be read as it is written, else in the quotes of JSON, which are YAML's too. */
static int append_value(struct sonde_buf *out, const char *value)
{
	json_auto_t *string = NULL;
	char *quoted;
	int r;

	if (is_plain(value))
		return sonde_buf_append(out, value, strlen(value));
	string = json_string(value);
	quoted = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
	if (!quoted)
		return string ? -ENOMEM : -EINVAL;
	r = sonde_buf_append(out, quoted, strlen(quoted));
	free(quoted);
	return r;
}

/* Where line @n (from 1) begins; the text's end if it has fewer. */
static const char *line_at(const char *text, unsigned int n)
{
	for (; n > 1; n--) {
		const char *end = strchr(text, '\n');

		if (!end)
			return text + strlen(text);
		text = end + 1;
	}
	return text;
}

/* "key:" within the line at @line; NULL = not there. */
static const char *find_key(const char *line, const char *key)
{
	size_t len = strlen(key);
	const char *p = line + strspn(line, " ");

	if (*p == '-' && p[1] == ' ')
		p += 1 + strspn(p + 1, " ");
	return strncmp(p, key, len) == 0 && p[len] == ':' ? p : NULL;
}

static int append_line(struct edit *e, size_t indent, const char *before, const char *key,
		       const char *value)
{
	int r = sonde_buf_printf(&e->out, "%*s%s%s: ", (int)indent, "", before, key);

	if (r == 0)
		r = append_value(&e->out, value);
	return r < 0 ? r : sonde_buf_append(&e->out, "\n", 1);
}

/* Text up to @at, with a line end behind it. */
static int append_until(struct edit *e, const char *at)
{
	int r = sonde_buf_append(&e->out, e->text, (size_t)(at - e->text));

	if (r == 0 && at > e->text && at[-1] != '\n')
		r = sonde_buf_append(&e->out, "\n", 1);
	return r;
}

/* The line of @node becomes "…key: value". */
static int replace_line(struct edit *e, const struct sonde_yaml_node *node, const char *key,
			const char *value)
{
	const char *line = line_at(e->text, node->line), *at = find_key(line, key);
	int r;

	if (!at || (node->kind != SONDE_YAML_SCALAR && node->kind != SONDE_YAML_NULL))
		return by_hand(e, key);
	r = sonde_buf_append(&e->out, e->text, (size_t)(at - e->text));
	if (r == 0)
		r = append_line(e, 0, "", key, value);
	line += strcspn(line, "\n");
	line += *line == '\n';
	return r < 0 ? r : sonde_buf_append(&e->out, line, strlen(line));
}

static int set_top(struct edit *e, const char *key, const char *value)
{
	const struct sonde_yaml_node *node = sonde_yaml_get(e->root, key);
	int r;

	if (node)
		return replace_line(e, node, key, value);
	r = append_until(e, e->text + strlen(e->text));
	return r < 0 ? r : append_line(e, 0, "", key, value);
}

static const struct sonde_yaml_node *find_context(const struct sonde_yaml_node *list,
						  const char *name)
{
	for (size_t i = 0; list && i < list->n_children; i++) {
		const struct sonde_yaml_node *node = sonde_yaml_get(list->children[i], "name");

		if (node && node->text && strcmp(node->text, name) == 0)
			return list->children[i];
	}
	return NULL;
}

/* "- name: NAME" and the key below it, @at: where. */
static int insert_context(struct edit *e, const char *at, size_t indent, const char *name,
			  const char *key, const char *value)
{
	int r = append_line(e, indent, "- ", "name", name);

	if (r == 0)
		r = append_line(e, indent + 2, "", key, value);
	return r < 0 ? r : sonde_buf_append(&e->out, at, strlen(at));
}

static int add_context(struct edit *e, const struct sonde_yaml_node *list, const char *name,
		       const char *key, const char *value)
{
	const struct sonde_yaml_node *first;
	const char *line;
	size_t indent;
	int r;

	if (!list) {
		line = e->text + strlen(e->text);
		r = append_until(e, line);
		if (r == 0)
			r = sonde_buf_printf(&e->out, "contexts:\n");
		return r < 0 ? r : insert_context(e, line, 0, name, key, value);
	}
	first = list->kind == SONDE_YAML_SEQUENCE && list->n_children > 0 ? list->children[0]
									  : NULL;
	if (!first)
		return by_hand(e, "contexts");
	line = line_at(e->text, first->line);
	indent = strspn(line, " ");
	if (line[indent] != '-')
		return by_hand(e, "contexts");
	r = append_until(e, line);
	return r < 0 ? r : insert_context(e, line, indent, name, key, value);
}

/* A line behind that of its @name, as far in as that. */
static int add_to_context(struct edit *e, const struct sonde_yaml_node *name, const char *key,
			  const char *value)
{
	const char *line = name ? line_at(e->text, name->line) : e->text;
	const char *at = name ? find_key(line, "name") : NULL, *next;
	int r;

	if (!at)
		return by_hand(e, "contexts");
	next = line_at(line, 2);
	r = append_until(e, next);
	if (r == 0)
		r = append_line(e, (size_t)(at - line), "", key, value);
	return r < 0 ? r : sonde_buf_append(&e->out, next, strlen(next));
}

static int set_in_context(struct edit *e, const char *name, const char *key, const char *value)
{
	const struct sonde_yaml_node *list = sonde_yaml_get(e->root, "contexts");
	const struct sonde_yaml_node *context = find_context(list, name), *node;

	if (!context)
		return add_context(e, list, name, key, value);
	node = sonde_yaml_get(context, key);
	if (node)
		return replace_line(e, node, key, value);
	return add_to_context(e, sonde_yaml_get(context, "name"), key, value);
}

int sonde_config_edit(const char *text, const char *key, const char *value, char **ret,
		      char **ret_error)
{
	static const char prefix[] = "contexts.";
	_cleanup_(sonde_yaml_freep) struct sonde_yaml_node *root = NULL;
	struct edit e = {.text = text, .out = SONDE_BUF_INIT(TEXT_MAX), .ret_error = ret_error};
	const char *dot;
	int r;

	assert(text && key && value && ret && ret_error);

	r = sonde_yaml_parse(text, strlen(text), "config", &root, ret_error);
	if (r < 0)
		return r;
	e.root = root;
	dot = strncmp(key, prefix, strlen(prefix)) == 0 ? strchr(key + strlen(prefix), '.') : NULL;
	if (dot) {
		_cleanup_free_ char *name =
			strndup(key + strlen(prefix), (size_t)(dot - key) - strlen(prefix));

		r = name ? set_in_context(&e, name, dot + 1, value) : -ENOMEM;
	} else {
		r = set_top(&e, key, value);
	}
	if (r == -EMSGSIZE)
		r = sonde_config_refuse(ret_error, "the file would be larger than a config may be");
	else if (r == -EINVAL && !*ret_error)
		r = sonde_config_refuse(ret_error, "'%s': expected UTF-8", key);
	if (r == 0)
		*ret = (char *)TAKE_PTR(e.out.data);
	sonde_buf_done(&e.out);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/policy-file.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"

int sonde_policy_file_load(const char *path, struct sonde_yaml_node **ret, char **ret_error)
{
	const bool is_stdin = strcmp(path, "-") == 0;
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = is_stdin ? sonde_yaml_read_fd(STDIN_FILENO, SONDE_POLICY_FILE_MAX, &text, &len)
		     : sonde_yaml_read_file(path, SONDE_POLICY_FILE_MAX, &text, &len);
	return r < 0 ? r : sonde_yaml_parse(text, len, is_stdin ? "stdin" : path, ret, ret_error);
}

static json_t *scalar_json(const struct sonde_yaml_node *node)
{
	int64_t n;

	if (!node->quoted && sonde_parse_i64(node->text, INT64_MIN, INT64_MAX, &n) == 0)
		return json_integer(n);
	if (!node->quoted && strcmp(node->text, "true") == 0)
		return json_true();
	if (!node->quoted && strcmp(node->text, "false") == 0)
		return json_false();
	return json_string(node->text);
}

static json_t *collection_json(const struct sonde_yaml_node *node)
{
	bool mapping = node->kind == SONDE_YAML_MAPPING;
	json_t *all = mapping ? json_object() : json_array();

	for (size_t i = 0; all && i < node->n_children; i++) {
		/* as deep as SONDE_YAML_DEPTH_MAX at most */
		json_t *child = sonde_policy_file_json(node->children[i]);

		if ((mapping ? json_object_set_new(all, node->children[i]->key, child)
			     : json_array_append_new(all, child)) < 0) {
			json_decref(all);
			return NULL;
		}
	}
	return all;
}

json_t *sonde_policy_file_json(const struct sonde_yaml_node *root)
{
	assert(root);

	switch (root->kind) {
	case SONDE_YAML_NULL:
		return json_null();
	case SONDE_YAML_SCALAR:
		return scalar_json(root);
	default:
		return collection_json(root);
	}
}

/* "[1]" or "threshold" at *@field, and behind it. NULL: it is not there, or no such thing. */
static const struct sonde_yaml_node *step(const struct sonde_yaml_node *at, const char **field)
{
	const char *s = *field;
	char key[64];
	uint64_t i;
	size_t n;

	if (*s == '[') {
		n = strcspn(++s, "]");
		*field = s[n] ? s + n + 1 : s + n;
	} else {
		s += *s == '.';
		n = strcspn(s, ".[");
		*field = s + n;
	}
	if (n == 0 || n >= sizeof(key))
		return NULL;
	memcpy(key, s, n);
	key[n] = '\0';
	if (at->kind != SONDE_YAML_SEQUENCE)
		return sonde_yaml_get(at, key);
	return at->n_children && sonde_parse_u64(key, 0, at->n_children - 1, &i) == 0
		       ? at->children[i]
		       : NULL;
}

unsigned int sonde_policy_file_line(const struct sonde_yaml_node *root, const char *field)
{
	const struct sonde_yaml_node *at = root, *next;

	assert(root && field);

	while (*field && (next = step(at, &field)))
		at = next;
	return at->line;
}

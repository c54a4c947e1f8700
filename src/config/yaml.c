/* SPDX-License-Identifier: Apache-2.0 */
#include "config/yaml.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <yaml.h>

#include "base/buf.h"

struct builder {
	yaml_parser_t parser;
	const char *name;
	char **ret_error;
	size_t n_nodes;
};

struct sonde_yaml_node *sonde_yaml_free(struct sonde_yaml_node *node)
{
	if (!node)
		return NULL;
	/* as deep as SONDE_YAML_DEPTH_MAX at most: build() made the tree */
	for (size_t i = 0; i < node->n_children; i++)
		(void)sonde_yaml_free(node->children[i]);
	free(node->children);
	free(node->key);
	free(node->text);
	free(node);
	return NULL;
}

static void event_done(yaml_event_t *event)
{
	yaml_event_delete(event); /* accepts the zeroed event that a failed parse leaves */
}
#define _cleanup_event_ _cleanup_(event_done)

static int complain(struct builder *b, size_t line, const char *fmt, ...) _printf_(3, 4);
static int complain(struct builder *b, size_t line, const char *fmt, ...)
{
	_cleanup_free_ char *words = NULL;
	char *message;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&words, fmt, ap);
	va_end(ap);
	if (n < 0) {
		words = NULL;
		return -ENOMEM;
	}
	if (asprintf(&message, "%s:%zu: %s", b->name, line + 1, words) < 0)
		return -ENOMEM;
	*b->ret_error = message;
	return -EINVAL;
}

static int next_event(struct builder *b, yaml_event_t *event)
{
	if (yaml_parser_parse(&b->parser, event))
		return 0;
	if (b->parser.error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	/* an encoding error has an offset only: the reader's line is the nearest that is known */
	return complain(b, b->parser.problem_mark.line, "not YAML: %s",
			b->parser.problem ? b->parser.problem : "it cannot be read");
}

static int add_child(struct sonde_yaml_node *parent, struct sonde_yaml_node **child)
{
	if (parent->n_children == parent->cap_children) {
		size_t cap = parent->cap_children ? parent->cap_children * 2 : 8;
		struct sonde_yaml_node **grown;

		/* at most SONDE_YAML_NODES_MAX children: no overflow */
		grown = reallocarray(parent->children, cap, sizeof(struct sonde_yaml_node *));
		if (!grown)
			return -ENOMEM;
		parent->children = grown;
		parent->cap_children = cap;
	}
	parent->children[parent->n_children++] = TAKE_PTR(*child);
	return 0;
}

/* Anchors are only of use with aliases, and tags would let a file pick types. */
static int refuse_extras(struct builder *b, const yaml_event_t *event, const yaml_char_t *anchor,
			 const yaml_char_t *tag)
{
	if (anchor)
		return complain(b, event->start_mark.line, "anchors are not allowed");
	if (tag)
		return complain(b, event->start_mark.line, "tags are not allowed");
	return 0;
}

static int copy_scalar(struct builder *b, const yaml_event_t *event, char **ret)
{
	const char *value = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;
	char *text;

	if (memchr(value, '\0', len))
		return complain(b, event->start_mark.line, "a NUL byte is not allowed");
	text = strndup(value, len);
	if (!text)
		return -ENOMEM;
	*ret = text;
	return 0;
}

static bool is_null(const struct sonde_yaml_node *node)
{
	return !node->quoted && (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
				 strcmp(node->text, "null") == 0);
}

static int build_scalar(struct builder *b, const yaml_event_t *event, struct sonde_yaml_node *node)
{
	int r;

	r = refuse_extras(b, event, event->data.scalar.anchor, event->data.scalar.tag);
	if (r < 0)
		return r;
	r = copy_scalar(b, event, &node->text);
	if (r < 0)
		return r;
	assert(node->text); /* r was 0 */
	node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	node->kind = SONDE_YAML_SCALAR;
	if (is_null(node)) {
		node->kind = SONDE_YAML_NULL;
		free(node->text);
		node->text = NULL;
	}
	return 0;
}

static int build(struct builder *b, const yaml_event_t *event, unsigned int depth,
		 struct sonde_yaml_node **ret);

/* A key of @mapping, from its event. */
static int build_key(struct builder *b, const struct sonde_yaml_node *mapping,
		     const yaml_event_t *event, char **ret)
{
	_cleanup_free_ char *key = NULL;
	int r;

	if (event->type != YAML_SCALAR_EVENT)
		return complain(b, event->start_mark.line, "a key must be a word");
	r = refuse_extras(b, event, event->data.scalar.anchor, event->data.scalar.tag);
	if (r < 0)
		return r;
	r = copy_scalar(b, event, &key);
	if (r < 0)
		return r;
	assert(key);
	for (size_t i = 0; i < mapping->n_children; i++) {
		if (strcmp(mapping->children[i]->key, key) == 0)
			return complain(b, event->start_mark.line,
					"key '%.64s': given twice, first on line %u", key,
					mapping->children[i]->line);
	}
	if (mapping->n_children == SONDE_YAML_MAPPING_MAX)
		return complain(b, event->start_mark.line, "more than %d keys in a mapping",
				SONDE_YAML_MAPPING_MAX);
	*ret = TAKE_PTR(key);
	return 0;
}

static int build_children(struct builder *b, unsigned int depth, struct sonde_yaml_node *parent)
{
	bool mapping = parent->kind == SONDE_YAML_MAPPING;
	yaml_event_type_t last = mapping ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;

	for (;;) {
		_cleanup_(sonde_yaml_freep) struct sonde_yaml_node *child = NULL;
		_cleanup_event_ yaml_event_t event = {0}, value = {0};
		_cleanup_free_ char *key = NULL;
		unsigned int line;
		int r;

		r = next_event(b, &event);
		if (r < 0)
			return r;
		if (event.type == last)
			return 0;
		line = (unsigned int)event.start_mark.line + 1;
		if (mapping) {
			r = build_key(b, parent, &event, &key);
			if (r < 0)
				return r;
			r = next_event(b, &value);
			if (r < 0)
				return r;
		}
		r = build(b, mapping ? &value : &event, depth + 1, &child);
		if (r < 0)
			return r;
		if (mapping)
			child->line = line; /* where a person looks: at the key */
		child->key = TAKE_PTR(key);
		r = add_child(parent, &child);
		if (r < 0)
			return r;
	}
}

static int build_collection(struct builder *b, const yaml_event_t *event, unsigned int depth,
			    struct sonde_yaml_node *node)
{
	int r;

	if (event->type == YAML_MAPPING_START_EVENT) {
		node->kind = SONDE_YAML_MAPPING;
		r = refuse_extras(b, event, event->data.mapping_start.anchor,
				  event->data.mapping_start.tag);
	} else {
		node->kind = SONDE_YAML_SEQUENCE;
		r = refuse_extras(b, event, event->data.sequence_start.anchor,
				  event->data.sequence_start.tag);
	}
	if (r < 0)
		return r;
	if (depth >= SONDE_YAML_DEPTH_MAX)
		return complain(b, event->start_mark.line, "nested deeper than %d levels",
				SONDE_YAML_DEPTH_MAX);
	return build_children(b, depth, node);
}

static int build(struct builder *b, const yaml_event_t *event, unsigned int depth,
		 struct sonde_yaml_node **ret)
{
	_cleanup_(sonde_yaml_freep) struct sonde_yaml_node *node = NULL;
	int r;

	if (event->type == YAML_ALIAS_EVENT)
		return complain(b, event->start_mark.line, "aliases are not allowed");
	if (++b->n_nodes > SONDE_YAML_NODES_MAX)
		return complain(b, event->start_mark.line, "more than %d values",
				SONDE_YAML_NODES_MAX);
	node = calloc(1, sizeof(*node));
	if (!node)
		return -ENOMEM;
	node->line = (unsigned int)event->start_mark.line + 1;
	node->column = (unsigned int)event->start_mark.column + 1;

	if (event->type == YAML_SCALAR_EVENT)
		r = build_scalar(b, event, node);
	else
		r = build_collection(b, event, depth, node);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(node);
	return 0;
}

static int build_document(struct builder *b, struct sonde_yaml_node **ret)
{
	_cleanup_(sonde_yaml_freep) struct sonde_yaml_node *root = NULL;
	int r;

	for (;;) {
		_cleanup_event_ yaml_event_t event = {0};

		r = next_event(b, &event);
		if (r < 0)
			return r;
		if (event.type == YAML_STREAM_END_EVENT)
			break;
		if (event.type == YAML_STREAM_START_EVENT ||
		    event.type == YAML_DOCUMENT_START_EVENT ||
		    event.type == YAML_DOCUMENT_END_EVENT)
			continue;
		if (root)
			return complain(b, event.start_mark.line,
					"more than one document in the file");
		r = build(b, &event, 0, &root);
		if (r < 0)
			return r;
	}
	if (!root) {
		root = calloc(1, sizeof(*root));
		if (!root)
			return -ENOMEM;
		root->line = root->column = 1;
	}
	if (root->kind == SONDE_YAML_NULL)
		root->kind = SONDE_YAML_MAPPING;
	*ret = TAKE_PTR(root);
	return 0;
}

int sonde_yaml_parse(const char *text, size_t len, const char *name, struct sonde_yaml_node **ret,
		     char **ret_error)
{
	struct builder b = {.name = name, .ret_error = ret_error};
	int r;

	assert(text && name && ret && ret_error);

	if (len > SONDE_YAML_TEXT_MAX)
		return complain(&b, 0, "larger than %lu bytes", SONDE_YAML_TEXT_MAX);
	if (!yaml_parser_initialize(&b.parser))
		return -ENOMEM;
	yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, len);
	r = build_document(&b, ret);
	yaml_parser_delete(&b.parser);
	return r;
}

const struct sonde_yaml_node *sonde_yaml_get(const struct sonde_yaml_node *node, const char *key)
{
	if (node->kind != SONDE_YAML_MAPPING)
		return NULL;
	for (size_t i = 0; i < node->n_children; i++) {
		if (strcmp(node->children[i]->key, key) == 0)
			return node->children[i];
	}
	return NULL;
}

int sonde_yaml_read_fd(int fd, size_t max, char **ret_text, size_t *ret_len)
{
	_cleanup_buf_ struct sonde_buf buf = SONDE_BUF_INIT(max + 1);

	for (;;) {
		size_t room;
		ssize_t n;
		int r;

		if (buf.len > max)
			return -EFBIG;
		room = max + 1 - buf.len;
		if (room > 16384)
			room = 16384;
		r = sonde_buf_reserve(&buf, room);
		if (r < 0)
			return r;
		n = read(fd, buf.data + buf.len, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		buf.len += (size_t)n;
	}
	if (buf.len > max)
		return -EFBIG;
	if (sonde_buf_append(&buf, "", 1) < 0)
		return -ENOMEM;
	*ret_len = buf.len - 1;
	*ret_text = (char *)TAKE_PTR(buf.data);
	return 0;
}

int sonde_yaml_read_file(const char *path, size_t max, char **ret_text, size_t *ret_len)
{
	_cleanup_close_ int fd = -1;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	return sonde_yaml_read_fd(fd, max, ret_text, ret_len);
}

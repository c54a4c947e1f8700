/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * YAML: hostile text -> a bounded tree that knows each node's line. One
 * document; anchors, aliases, tags and merge keys are refused (no billion
 * laughs), a key stands once in its mapping. Values stay text: what a scalar
 * means is for who reads the tree. Not shared between threads.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

#define SONDE_YAML_TEXT_MAX (1024UL * 1024) /* bytes of a document */
#define SONDE_YAML_DEPTH_MAX 16
#define SONDE_YAML_NODES_MAX 32768
#define SONDE_YAML_MAPPING_MAX 512 /* keys of one mapping */

enum sonde_yaml_kind {
	SONDE_YAML_NULL = 0, /* nothing, `~` or `null`, not quoted */
	SONDE_YAML_SCALAR,
	SONDE_YAML_SEQUENCE,
	SONDE_YAML_MAPPING,
};

struct sonde_yaml_node {
	enum sonde_yaml_kind kind;
	unsigned int line;   /* from 1 */
	unsigned int column; /* from 1 */
	bool quoted;	     /* a scalar in quotes or a block: text, never a number or a bool */
	char *key;	     /* of a mapping's entry, else NULL */
	char *text;	     /* of a scalar, else NULL; no NUL inside */
	struct sonde_yaml_node **children;
	size_t n_children;
	size_t cap_children;
};

/* NULL is fine. Always returns NULL. */
struct sonde_yaml_node *sonde_yaml_free(struct sonde_yaml_node *node);
SONDE_DEFINE_CLEANUP(struct sonde_yaml_node *, sonde_yaml_free)

/**
 * sonde_yaml_parse() - read one document
 * @name: of the text, for messages
 * @ret: the root; a text of nothing but blanks and comments is an empty mapping
 * @ret_error: "NAME:LINE: …" on -EINVAL (to be freed), untouched else
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
int sonde_yaml_parse(const char *text, size_t len, const char *name, struct sonde_yaml_node **ret,
		     char **ret_error) _must_check_;

/* The entry of mapping @node under @key. NULL: no such key, or no mapping. Borrowed. */
const struct sonde_yaml_node *sonde_yaml_get(const struct sonde_yaml_node *node, const char *key);

/* Reads a whole file (or pipe) of at most @max bytes; a NUL follows. Return: 0, -EFBIG, -ENOMEM, -errno. */
int sonde_yaml_read_file(const char *path, size_t max, char **ret_text,
			 size_t *ret_len) _must_check_;
int sonde_yaml_read_fd(int fd, size_t max, char **ret_text, size_t *ret_len) _must_check_;

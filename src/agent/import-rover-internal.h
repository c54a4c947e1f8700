/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the import share. For this folder only. */

#include <stdbool.h>
#include <stdio.h>

#include "config/config.h"
#include "config/yaml.h"

#define SONDE_IMPORT_VALUE_MAX                                                                     \
	1024 /* bytes with NUL; a longer value is cut: sonde_import_is_cut() */

struct sonde_import {
	const char *text, *name;	    /* borrowed */
	char *const *environ;		    /* borrowed */
	const struct sonde_yaml_node *root; /* borrowed */
	FILE *out, *words;		    /* borrowed */
	FILE *notes;			    /* comments for the end of @out */
	char *notes_text;
	size_t notes_size;
	void *scratch;			 /* a config, to try values on */
	char last[SONDE_CONFIG_KEY_MAX]; /* the key that was printed last */
};

/* The node at "a.b.c"; NULL if there is none. */
const struct sonde_yaml_node *sonde_import_node(const struct sonde_import *im, const char *path);

/* The text of a scalar with its variables filled in; false: it is none, or empty. */
bool sonde_import_text(const struct sonde_import *im, const struct sonde_yaml_node *n,
		       char dst[SONDE_IMPORT_VALUE_MAX]);
/* Of the file, else of the variable @env (NULL: none). False: neither has one. */
bool sonde_import_value(const struct sonde_import *im, const char *path, const char *env,
			char dst[SONDE_IMPORT_VALUE_MAX]);

/* Of a text of the two above: it fills all of its room, so that more of it may be missing. */
bool sonde_import_is_cut(const char text[SONDE_IMPORT_VALUE_MAX]);

/* "a.b.c" as lines of nested mappings; keys of one mapping must follow each other. */
void sonde_import_print_key(struct sonde_import *im, const char *key, const char *value);
/* A scalar that YAML reads as this text again. */
void sonde_import_print_text(FILE *out, const char *text);

/* A comment, and unless @quiet a line of words. */
void sonde_import_leave_out(struct sonde_import *im, const char *from, const char *text,
			    const char *reason, bool quiet);

/* import-rover-processes.c: processes.rules out of the process discovery. */
void sonde_import_processes(struct sonde_import *im);
bool sonde_import_processes_knows(const char *path);
bool sonde_import_processes_knows_env(const char *name, size_t n);

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a closure can call: the methods of Java's String that we have, and the process registry. Folder-private. */

#include "mal/ast.h"
#include "mal/run.h"

struct mal_method_info {
	const char *name;
	const char *signature; /* S string, N number, R regex; alternatives behind '|' */
	enum mal_value_type type;
};

const struct mal_method_info *mal_method_info(enum mal_method m);
bool mal_method_by_name(const char *name, size_t len, enum mal_method *ret);
bool mal_registry_by_name(const char *name, size_t len, enum sonde_mal_virtual *ret,
			  size_t *ret_args);

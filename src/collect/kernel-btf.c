/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/kernel-btf.h"

#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TRACE_PREFIX "btf_trace_"
#define ENUM_VALUES_MAX 1024

void sonde_enum_names_done(struct sonde_enum_names *names)
{
	if (!names)
		return;
	for (size_t i = 0; i < names->n; i++)
		free(names->names[i]);
	free(names->names);
	*names = (struct sonde_enum_names){0};
}

static const struct btf_type *bare_type(const struct btf *btf, uint32_t id)
{
	const struct btf_type *t = btf__type_by_id(btf, id);

	while (t && (btf_is_mod(t) || btf_is_typedef(t)))
		t = btf__type_by_id(btf, t->type);
	return t;
}

static void describe_argument(const struct btf *btf, uint32_t id, char *dst, size_t size)
{
	const struct btf_type *t = bare_type(btf, id);

	if (!t)
		return;
	if (btf_is_ptr(t)) {
		const char *name = "void";

		if (t->type != 0) {
			t = bare_type(btf, t->type);
			if (t && t->name_off)
				name = btf__name_by_offset(btf, t->name_off);
		}
		(void)snprintf(dst, size, "%s*", name);
		return;
	}
	(void)snprintf(dst, size, "%u", t->size);
}

static void answer_prototype(const struct btf *btf, const struct btf_type *proto, uint32_t hidden,
			     struct sonde_prototype *answer)
{
	const struct btf_param *params = btf_params(proto);

	answer->found = true;
	answer->n_args = btf_vlen(proto) - hidden;
	for (uint32_t i = 0; i < answer->n_args && i < SONDE_PROTOTYPE_ARGS_MAX; i++)
		describe_argument(btf, params[i + hidden].type, answer->args[i],
				  sizeof(answer->args[i]));
}

/* typedef void (*btf_trace_NAME)(void *, ...); the first argument is not the program's. */
static void answer_tracepoint(const struct btf *btf, const struct btf_type *t,
			      struct sonde_prototype *answer)
{
	t = btf__type_by_id(btf, t->type);
	if (!t || !btf_is_ptr(t))
		return;
	t = btf__type_by_id(btf, t->type);
	if (t && btf_is_func_proto(t) && btf_vlen(t) >= 1)
		answer_prototype(btf, t, 1, answer);
}

static void answer_function(const struct btf *btf, const struct btf_type *t,
			    struct sonde_prototype *answer)
{
	t = btf__type_by_id(btf, t->type);
	if (t && btf_is_func_proto(t))
		answer_prototype(btf, t, 0, answer);
}

/* Answers those of @prototypes that @t is about. */
static void answer_type(const struct btf *btf, const struct btf_type *t,
			struct sonde_prototype *prototypes, size_t n)
{
	const char *name = btf__name_by_offset(btf, t->name_off);
	bool function = btf_is_func(t);

	if (!function) {
		if (strncmp(name, TRACE_PREFIX, strlen(TRACE_PREFIX)) != 0)
			return;
		name += strlen(TRACE_PREFIX);
	}
	for (size_t i = 0; i < n; i++) {
		if (prototypes[i].function != function || strcmp(name, prototypes[i].name) != 0)
			continue;
		if (function)
			answer_function(btf, t, &prototypes[i]);
		else
			answer_tracepoint(btf, t, &prototypes[i]);
	}
}

static int answer_enum(const struct btf *btf, const struct btf_type *t,
		       struct sonde_enum_names *names)
{
	const struct btf_enum *values = btf_enum(t);

	if (names->names)
		return 0;
	names->names = calloc(ENUM_VALUES_MAX, sizeof(*names->names));
	if (!names->names)
		return -ENOMEM;
	names->n = ENUM_VALUES_MAX;
	for (uint32_t i = 0; i < btf_vlen(t); i++) {
		const char *name = btf__name_by_offset(btf, values[i].name_off);
		uint32_t value = (uint32_t)values[i].val;

		if (value >= ENUM_VALUES_MAX || names->names[value] || !name)
			continue;
		names->names[value] = strdup(name);
		if (!names->names[value])
			return -ENOMEM;
	}
	return 0;
}

static int answer_enums(const struct btf *btf, const struct btf_type *t, const char *const *enums,
			size_t n, struct sonde_enum_names *names)
{
	const char *name = btf__name_by_offset(btf, t->name_off);

	for (size_t i = 0; i < n; i++) {
		if (strcmp(name, enums[i]) == 0)
			return answer_enum(btf, t, &names[i]);
	}
	return 0;
}

int sonde_kernel_btf_ask(const struct btf *btf, struct sonde_prototype *prototypes, size_t n,
			 const char *const *enums, size_t n_enums,
			 struct sonde_enum_names *ret_names)
{
	uint32_t n_types = btf__type_cnt(btf);
	int r = 0;

	for (size_t i = 0; i < n_enums; i++)
		ret_names[i] = (struct sonde_enum_names){0};

	for (uint32_t id = 1; id < n_types && r == 0; id++) {
		const struct btf_type *t = btf__type_by_id(btf, id);

		if (btf_is_typedef(t) || btf_is_func(t))
			answer_type(btf, t, prototypes, n);
		else if (btf_is_enum(t))
			r = answer_enums(btf, t, enums, n_enums, ret_names);
	}
	for (size_t i = 0; r < 0 && i < n_enums; i++)
		sonde_enum_names_done(&ret_names[i]);
	return r;
}

#define ANONYMOUS_DEPTH_MAX 8

/* The type of the member called by the first @len bytes of @name; NULL if there is none. */
static const struct btf_type *find_member(const struct btf *btf, const struct btf_type *t,
					  const char *name, size_t len, unsigned depth)
{
	const struct btf_member *members = btf_members(t);

	for (uint32_t i = 0; i < btf_vlen(t); i++) {
		const char *here = btf__name_by_offset(btf, members[i].name_off);
		const struct btf_type *type = bare_type(btf, members[i].type), *inside;

		if (strncmp(here, name, len) == 0 && here[len] == '\0')
			return type;
		if (here[0] || !type || !btf_is_composite(type) || depth == ANONYMOUS_DEPTH_MAX)
			continue;
		inside = find_member(btf, type, name, len, depth + 1);
		if (inside)
			return inside;
	}
	return NULL;
}

static bool has_value(const struct btf *btf, const struct btf_type *t, const char *name)
{
	const struct btf_enum *values = btf_enum(t);

	for (uint32_t i = 0; i < btf_vlen(t); i++) {
		if (strcmp(btf__name_by_offset(btf, values[i].name_off), name) == 0)
			return true;
	}
	return false;
}

bool sonde_kernel_btf_has(const struct btf *btf, const char *path)
{
	size_t len = strcspn(path, ".");
	const struct btf_type *t;
	char name[64];
	int id;

	if (len >= sizeof(name) || !path[len])
		return false;
	memcpy(name, path, len);
	name[len] = '\0';
	id = btf__find_by_name_kind(btf, name, BTF_KIND_ENUM);
	if (id > 0)
		return has_value(btf, btf__type_by_id(btf, (uint32_t)id), path + len + 1);
	id = btf__find_by_name_kind(btf, name, BTF_KIND_STRUCT);
	t = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;
	while (t && path[len]) {
		path += len + 1;
		len = strcspn(path, ".");
		t = btf_is_composite(t) ? find_member(btf, t, path, len, 0) : NULL;
	}
	return t != NULL;
}

bool sonde_kernel_btf_is_own(const struct sonde_kernel_btf_files *files)
{
	return access(files->own ? files->own : SONDE_KERNEL_BTF_FILE, R_OK) == 0;
}

int sonde_kernel_btf_load(const struct sonde_kernel_btf_files *files, struct btf **ret)
{
	const char *path = files->own ? files->own : SONDE_KERNEL_BTF_FILE;
	struct btf *btf;

	if (!sonde_kernel_btf_is_own(files))
		path = files->external;
	if (!path)
		return -EOPNOTSUPP;
	btf = btf__parse(path, NULL);
	if (!btf)
		return errno == ENOMEM ? -ENOMEM : -EOPNOTSUPP;
	*ret = btf;
	return 0;
}

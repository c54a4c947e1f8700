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

/* typedef void (*btf_trace_NAME)(void *, ...); the first argument is not the program's. */
static void answer_tracepoint(const struct btf *btf, const struct btf_type *t,
			      struct sonde_tracepoint *tracepoint)
{
	const struct btf_param *params;

	t = btf__type_by_id(btf, t->type);
	if (!t || !btf_is_ptr(t))
		return;
	t = btf__type_by_id(btf, t->type);
	if (!t || !btf_is_func_proto(t) || btf_vlen(t) < 1)
		return;
	params = btf_params(t);
	tracepoint->found = true;
	tracepoint->n_args = btf_vlen(t) - 1U;
	for (uint32_t i = 0; i < tracepoint->n_args && i < SONDE_TRACEPOINT_ARGS_MAX; i++)
		describe_argument(btf, params[i + 1].type, tracepoint->args[i],
				  sizeof(tracepoint->args[i]));
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

int sonde_kernel_btf_ask(const struct btf *btf, struct sonde_tracepoint *tracepoints, size_t n,
			 const char *enum_name, struct sonde_enum_names *ret_names)
{
	_cleanup_(sonde_enum_names_done) struct sonde_enum_names names = {0};
	uint32_t n_types = btf__type_cnt(btf);

	for (uint32_t id = 1; id < n_types; id++) {
		const struct btf_type *t = btf__type_by_id(btf, id);
		const char *name;
		int r;

		if (btf_is_typedef(t)) {
			name = btf__name_by_offset(btf, t->name_off);
			if (strncmp(name, TRACE_PREFIX, strlen(TRACE_PREFIX)) != 0)
				continue;
			name += strlen(TRACE_PREFIX);
			for (size_t i = 0; i < n; i++) {
				if (strcmp(name, tracepoints[i].name) == 0)
					answer_tracepoint(btf, t, &tracepoints[i]);
			}
		} else if (ret_names && btf_is_enum(t) &&
			   strcmp(btf__name_by_offset(btf, t->name_off), enum_name) == 0) {
			r = answer_enum(btf, t, &names);
			if (r < 0)
				return r;
		}
	}
	if (ret_names)
		*ret_names = TAKE(names, (struct sonde_enum_names){0});
	return 0;
}

int sonde_kernel_btf_load(struct btf **ret)
{
	struct btf *btf = btf__load_vmlinux_btf();

	if (!btf)
		return errno == ENOMEM ? -ENOMEM : -EOPNOTSUPP;
	*ret = btf;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "feature.h"

#include <bpf/btf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/probe-msg.h"

/* Each line: a metric of the plan, and the tracepoint that it takes. */
static const struct excuse {
	const char *metrics;
	const char *tracepoint;
} excuses[] = {
	{"write calls", "sock_send_length"}, /* Linux 6.3 */
	{"read calls", "sock_recv_length"},
	{SONDE_PROBE_METRICS_CALL_TIME, "sock_send_length"},
};

static void btf_freep(struct btf **btf)
{
	btf__free(*btf);
}

static const struct btf_type *find_prototype(const struct btf *btf, const char *name)
{
	const struct btf_type *t;
	char typedef_name[64];
	int id;

	(void)snprintf(typedef_name, sizeof(typedef_name), "btf_trace_%s", name);
	id = btf__find_by_name_kind(btf, typedef_name, BTF_KIND_TYPEDEF);
	if (id < 0)
		return NULL;
	t = btf__type_by_id(btf, btf__type_by_id(btf, (uint32_t)id)->type); /* a pointer */
	return btf__type_by_id(btf, t->type);
}

bool feature_has_tracepoint(const char *name)
{
	_cleanup_(btf_freep) struct btf *btf = btf__load_vmlinux_btf();

	return btf && find_prototype(btf, name);
}

bool feature_tracepoint_has(const char *name, unsigned int argument, const char *type)
{
	_cleanup_(btf_freep) struct btf *btf = btf__load_vmlinux_btf();
	const struct btf_type *prototype = btf ? find_prototype(btf, name) : NULL;
	const struct btf_type *t;

	/* The prototype's first parameter is the tracepoint's data. */
	if (!prototype || btf_vlen(prototype) <= argument + 1)
		return false;
	t = btf__type_by_id(btf, btf_params(prototype)[argument + 1].type);
	while (t && (btf_is_ptr(t) || btf_is_mod(t)))
		t = btf__type_by_id(btf, t->type);
	return t && strcmp(btf__name_by_offset(btf, t->name_off), type) == 0;
}

bool feature_is_here(const char *metrics)
{
	for (size_t i = 0; i < ELEMENTS_OF(excuses); i++)
		if (strcmp(excuses[i].metrics, metrics) == 0)
			return feature_has_tracepoint(excuses[i].tracepoint);
	return true;
}

bool feature_best_is_here(const char *metrics)
{
	if (strcmp(metrics, "drops by reason") == 0) /* the receiver, since Linux 6.11 */
		return feature_tracepoint_has("kfree_skb", 3, "sock");
	return feature_is_here(metrics);
}

bool feature_has_function(const char *name)
{
	_cleanup_(btf_freep) struct btf *btf = btf__load_vmlinux_btf();
	int id = btf ? btf__find_by_name_kind(btf, "bpf_func_id", BTF_KIND_ENUM) : -1;
	const struct btf_type *t = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;

	for (uint32_t i = 0; t && i < btf_vlen(t); i++)
		if (strcmp(btf__name_by_offset(btf, btf_enum(t)[i].name_off), name) == 0)
			return true;
	return false;
}

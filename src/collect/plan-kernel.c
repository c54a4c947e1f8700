/* SPDX-License-Identifier: Apache-2.0 */
#include "collect/plan-kernel.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/privilege.h"

#define NO_BTF                                                                                     \
	"this kernel shows no BTF (CONFIG_DEBUG_INFO_BTF=y), and the policy names no file (btf.external)"
#define BAD_BTF                                                                                    \
	"this kernel shows no BTF (CONFIG_DEBUG_INFO_BTF=y), and the external file is none either"
#define ONLY_EXTERNAL                                                                              \
	"this kernel itself has no BTF (CONFIG_DEBUG_INFO_BTF=y): the external file does not serve here"

enum kind {
	KIND_TP_BTF,
	KIND_FENTRY,
	KIND_FEXIT,
	KIND_OTHER, /* nothing is asked but its needs: kprobe.multi, iter, sockops, cgroup */
};

static const char *const kind_names[] = {
	[KIND_TP_BTF] = "tp_btf",
	[KIND_FENTRY] = "fentry",
	[KIND_FEXIT] = "fexit",
};
_Static_assert(ELEMENTS_OF(kind_names) == KIND_OTHER, "a name for each kind");

static enum kind kind_of(const struct sonde_plan_program *p, const char **ret_place)
{
	size_t len = strcspn(p->hook, "/");

	*ret_place = p->hook[len] ? p->hook + len + 1 : "";
	for (unsigned i = 0; i < ELEMENTS_OF(kind_names); i++) {
		if (strlen(kind_names[i]) == len && strncmp(kind_names[i], p->hook, len) == 0)
			return i;
	}
	return KIND_OTHER;
}

/* Return: 1 = said, -ENOMEM. */
static int say(char **ret_why, const char *fmt, ...) _printf_(2, 3);
static int say(char **ret_why, const char *fmt, ...)
{
	char *words = NULL;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(&words, fmt, args);
	va_end(args);
	if (n < 0)
		return -ENOMEM;
	*ret_why = words;
	return 1;
}

/* What the program reads must be where it reads it; arguments behind that may come and go. */
static int compare_arguments(const struct sonde_plan_program *p, bool result_behind,
			     const struct sonde_prototype *here, char **ret_why)
{
	uint32_t i;

	for (i = 0; i < SONDE_PROTOTYPE_ARGS_MAX && p->args[i]; i++) {
		if (i >= here->n_args)
			return say(ret_why, "argument %u of %s is missing here", i + 1, here->name);
		if (strcmp(p->args[i], here->args[i]) != 0)
			return say(ret_why, "argument %u of %s is %s here, not %s", i + 1,
				   here->name, here->args[i], p->args[i]);
	}
	if (result_behind && i != here->n_args)
		return say(ret_why, "%s has %u arguments here, not %u", here->name, here->n_args,
			   i);
	return 0;
}

int sonde_plan_kernel_compare(const struct sonde_plan_program *program, const struct btf *btf,
			      const struct sonde_prototype *here, char **ret_why)
{
	const char *place;
	enum kind kind = kind_of(program, &place);
	int r = 0;

	assert(program && ret_why);

	*ret_why = NULL;
	if (kind < KIND_OTHER) {
		if (!here->found)
			r = say(ret_why, "this kernel has no %s %s",
				here->function ? "function" : "tracepoint", here->name);
		else
			r = compare_arguments(program, kind == KIND_FEXIT, here, ret_why);
	}
	for (size_t i = 0; i < SONDE_PLAN_NEEDS_MAX && program->needs[i] && r == 0; i++) {
		if (!btf || !sonde_kernel_btf_has(btf, program->needs[i]))
			r = say(ret_why, "this kernel has no %s", program->needs[i]);
	}
	return r < 0 ? r : 0;
}

/* A load on trial, attached to nothing. @id: in the kernel's BTF. */
static int try_tracing(const struct sonde_collect_config *config, enum bpf_attach_type type, int id)
{
	static const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	struct bpf_prog_load_opts opts;
	_cleanup_close_ int fd = -1;
	int r;

	if (id < 0)
		return id;
	/* libbpf refuses an option struct whose padding is not 0, which an initializer may leave. */
	memset(&opts, 0, sizeof(opts));
	opts.sz = sizeof(opts);
	opts.expected_attach_type = type;
	opts.attach_btf_id = (uint32_t)id;
	r = config->raise(config->ctx, SONDE_CAP(CAP_BPF) | SONDE_CAP(CAP_PERFMON));
	if (r < 0)
		return r;
	fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, "sonde_try", "Dual BSD/GPL", insns,
			   ELEMENTS_OF(insns), &opts);
	config->drop(config->ctx);
	return fd < 0 ? fd : 0;
}

/* Function trampolines may be refused whatever the capabilities: only a load tells. */
static int try_trampoline(const struct btf *btf, enum kind kind, const char *function,
			  const struct sonde_collect_config *config)
{
	return try_tracing(config, kind == KIND_FENTRY ? BPF_TRACE_FENTRY : BPF_TRACE_FEXIT,
			   btf__find_by_name_kind(btf, function, BTF_KIND_FUNC));
}

/*
 * A kernel may have a BTF and not show it (a container that hides /sys), or have none: then an external file tells
 * where things are, but hooks that the kernel itself types are not to be had.
 */
static bool kernel_has_btf(const struct btf *btf, const struct sonde_collect_config *config)
{
	static const char any[] = "btf_trace_sched_process_exit";

	return sonde_kernel_btf_is_own(&config->btf) ||
	       try_tracing(config, BPF_TRACE_RAW_TP,
			   btf__find_by_name_kind(btf, any, BTF_KIND_TYPEDEF)) == 0;
}

/* What the BTF does not say. */
static int ask_attach_point(const struct sonde_plan_program *p, const struct btf *btf,
			    const struct sonde_collect_config *config, char **ret_why)
{
	const char *place;
	enum kind kind = kind_of(p, &place);
	int r;

	if (kind != KIND_FENTRY && kind != KIND_FEXIT)
		return 0;
	r = try_trampoline(btf, kind, place, config);
	if (r == 0 || r == -ENOMEM)
		return r;
	return say(ret_why, "the kernel refuses %s programs: %s", kind_names[kind], strerror(-r));
}

/* Hooks that the kernel itself types. */
static bool is_typed(const struct sonde_plan_program *p)
{
	const char *place;

	return kind_of(p, &place) < KIND_OTHER || strncmp(p->hook, "iter/", 5) == 0;
}

/* @typed: the kernel has a BTF of its own. */
static int ask_program(const struct sonde_plan_program *p, const struct btf *btf, bool typed,
		       const struct sonde_prototype *here,
		       const struct sonde_collect_config *config, char **ret_why)
{
	int r;

	if (!btf && (is_typed(p) || p->args[0] || p->needs[0]))
		return say(ret_why, "%s", config->btf.external ? BAD_BTF : NO_BTF);
	if (!typed && is_typed(p))
		return say(ret_why, "%s", ONLY_EXTERNAL);
	r = sonde_plan_kernel_compare(p, btf, here, ret_why);
	if (r < 0 || *ret_why)
		return r;
	return ask_attach_point(p, btf, config, ret_why);
}

static int ask_btf(const struct sonde_plan_table *table, const struct btf *btf,
		   struct sonde_prototype *here, struct sonde_enum_names *names)
{
	size_t n_enums = 0;

	for (size_t i = 0; i < table->n_programs; i++) {
		enum kind kind = kind_of(&table->programs[i], &here[i].name);

		here[i].function = kind == KIND_FENTRY || kind == KIND_FEXIT;
	}
	if (!btf)
		return 0;
	while (n_enums < SONDE_PLAN_ENUMS_MAX && table->enums[n_enums])
		n_enums++;
	return sonde_kernel_btf_ask(btf, here, table->n_programs, table->enums, n_enums, names);
}

static void kernel_done(struct sonde_plan_kernel *k)
{
	for (size_t i = 0; i < SONDE_PLAN_PROGRAMS_MAX; i++)
		free(k->why_not[i]);
	for (size_t i = 0; i < SONDE_PLAN_ENUMS_MAX; i++)
		sonde_enum_names_done(&k->names[i]);
}

static int ask_all(struct sonde_plan_kernel *k, const struct btf *btf,
		   const struct sonde_collect_config *config)
{
	_cleanup_free_ struct sonde_prototype *here = NULL;
	bool typed;
	int r;

	here = calloc(k->table->n_programs, sizeof(*here));
	if (!here)
		return -ENOMEM;
	typed = btf && kernel_has_btf(btf, config);
	r = ask_btf(k->table, btf, here, k->names);
	for (size_t i = 0; i < k->table->n_programs && r >= 0; i++)
		r = ask_program(&k->table->programs[i], btf, typed, &here[i], config,
				&k->why_not[i]);
	return r < 0 ? r : 0;
}

/* A dozen kB, the process's until it ends. */
static struct sonde_plan_kernel known[SONDE_PLAN_TABLES_MAX];

/* Its entry, or the first that is free; NULL = there is neither. */
static struct sonde_plan_kernel *find(const struct sonde_plan_table *table)
{
	for (size_t i = 0; i < ELEMENTS_OF(known); i++) {
		if (known[i].table == table || !known[i].table)
			return &known[i];
	}
	return NULL;
}

int sonde_plan_kernel_ask(const struct sonde_plan_table *table,
			  const struct sonde_collect_config *config,
			  const struct sonde_plan_kernel **ret)
{
	struct sonde_plan_kernel *k = find(table);
	struct btf *btf = NULL;
	int r;

	if (!k)
		return -ENOMEM;
	if (!k->table) {
		struct sonde_plan_kernel asked = {.table = table};

		r = sonde_kernel_btf_load(&config->btf, &btf);
		if (r == -ENOMEM)
			return r;
		r = ask_all(&asked, btf, config);
		btf__free(btf);
		if (r < 0) {
			kernel_done(&asked);
			return r;
		}
		*k = asked;
	}
	*ret = k;
	return 0;
}

void sonde_plan_kernel_took(const struct sonde_plan_table *table, uint64_t programs)
{
	struct sonde_plan_kernel *k = find(table);

	if (k && k->table)
		k->loaded |= programs;
}

int sonde_plan_kernel_refused(const struct sonde_plan_table *table, uint32_t program,
			      const char *why)
{
	struct sonde_plan_kernel *k = find(table);

	if (!k || !k->table || k->why_not[program])
		return 0;
	k->why_not[program] = strdup(why);
	return k->why_not[program] ? 0 : -ENOMEM;
}

bool sonde_plan_kernel_knows(const struct sonde_plan_table *table, uint64_t programs)
{
	const struct sonde_plan_kernel *k = find(table);

	return k && k->table && (programs & ~k->loaded) == 0;
}

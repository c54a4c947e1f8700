/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "collect/plan-kernel.h"

void sonde_plan_open_opts(const struct sonde_collect_config *config,
			  struct bpf_object_open_opts *ret)
{
	/* libbpf refuses an option struct whose padding is not 0, which an initializer may leave. */
	memset(ret, 0, sizeof(*ret));
	ret->sz = sizeof(*ret);
	if (!sonde_kernel_btf_is_own(&config->btf))
		ret->btf_custom_path = config->btf.external;
}

/* libbpf says which program the kernel refused only in its log. */
static char refused_function[64];

static _printf_(2, 0) int on_libbpf_log(enum libbpf_print_level level, const char *fmt,
					va_list args)
{
	static const char prefix[] = "libbpf: prog '", suffix[] = "': failed to ";
	char line[512];
	char *name, *end;

	(void)vsnprintf(line, sizeof(line), fmt, args);
	name = strstr(line, prefix);
	if (name) {
		name += strlen(prefix);
		end = strstr(name, suffix);
		if (end && end - name < (long)sizeof(refused_function)) {
			*end = '\0';
			memcpy(refused_function, name, (size_t)(end - name) + 1);
			*end = '\'';
		}
	}
	if (level != LIBBPF_DEBUG) {
		line[strcspn(line, "\n")] = '\0';
		sonde_log_debug("%s", line);
	}
	return 0;
}

/* 0: what the kernel would not have is left out from now on. */
static int leave_out(struct sonde_plan *p, int error, int (*on_extra)(void *, const char *),
		     void *ctx)
{
	int r;

	for (uint32_t i = 0; i < p->table->n_programs; i++) {
		if (!sonde_plan_wants(p, i) ||
		    strcmp(p->table->programs[i].function, refused_function) != 0)
			continue;
		r = sonde_plan_refuse(p, i, "the kernel refused to load it: %s", strerror(-error));
		if (r == 0)
			r = sonde_plan_kernel_refused(p->table, i, p->refused[i]);
		if (r == 0 && sonde_plan_core_missing(p))
			r = error;
		return r;
	}
	return on_extra && refused_function[0] ? on_extra(ctx, refused_function) : error;
}

/* Not the program's fault: another would not be loaded either. */
static bool is_shortage(int error)
{
	return error == -ENOMEM || error == -EMFILE || error == -ENFILE;
}

static int load_until_whole(struct sonde_plan *p, int (*load_once)(void *ctx),
			    int (*on_extra)(void *ctx, const char *function), void *ctx)
{
	int r = -ELOOP;

	/* Each turn leaves one program out; some more for the extra ones. */
	for (size_t i = 0; i < p->table->n_programs + 4; i++) {
		int error;

		refused_function[0] = '\0';
		r = load_once(ctx);
		if (r == 0 || is_shortage(r))
			return r;
		error = leave_out(p, r, on_extra, ctx);
		if (error < 0)
			return error;
	}
	return r;
}

int sonde_plan_load(struct sonde_plan *p, int (*load_once)(void *ctx),
		    int (*on_extra)(void *ctx, const char *function), void *ctx)
{
	libbpf_print_fn_t before;
	int r;

	assert(p && load_once);

	before = libbpf_set_print(on_libbpf_log);
	r = load_until_whole(p, load_once, on_extra, ctx);
	(void)libbpf_set_print(before);
	if (r == 0)
		sonde_plan_kernel_took(p->table, p->wanted);
	return r;
}

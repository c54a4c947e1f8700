/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Plan kernel: what the running kernel says of a table's programs, asked once and
 * kept until the process ends. Only plan.c uses it. Worker's thread only.
 */

#include "collect/plan.h"

#define SONDE_PLAN_TABLES_MAX 8

struct sonde_plan_kernel {
	const struct sonde_plan_table *table;
	char *why_not[SONDE_PLAN_PROGRAMS_MAX]; /* NULL = it has all that the program needs */
	uint64_t loaded;			/* programs that it took */
	struct sonde_enum_names names[SONDE_PLAN_ENUMS_MAX];
};

/* *@ret: the process's. Return: 0, -ENOMEM (also for more than SONDE_PLAN_TABLES_MAX tables). */
int sonde_plan_kernel_ask(const struct sonde_plan_table *table,
			  const struct sonde_collect_config *config,
			  const struct sonde_plan_kernel **ret) _must_check_;

/* The kernel took these programs of @table; it would not have this one, now and later. */
void sonde_plan_kernel_took(const struct sonde_plan_table *table, uint64_t programs);
int sonde_plan_kernel_refused(const struct sonde_plan_table *table, uint32_t program,
			      const char *why) _must_check_;
bool sonde_plan_kernel_knows(const struct sonde_plan_table *table, uint64_t programs);

/*
 * Compares the prototype that @program was built for with @here, and asks @btf for its other needs.
 * *@ret_why: why it does not fit, to be freed; NULL = it fits. Return: 0, -ENOMEM.
 */
int sonde_plan_kernel_compare(const struct sonde_plan_program *program, const struct btf *btf,
			      const struct sonde_prototype *here, char **ret_why) _must_check_;

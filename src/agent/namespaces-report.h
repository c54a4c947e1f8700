/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Namespaces report: a task's namespaces as messages of its report. Loop thread only. */

#include "agent/namespaces.h"
#include "sonde/v1/task.pb-c.h"

struct sonde_namespaces_report;

/* Fills in @report's list, which borrows from *@ret until that is freed. Return: 0 (*@ret is NULL: nothing to tell), -ENOMEM. */
int sonde_namespaces_report_new(const struct sonde_namespaces *s, Sonde__V1__TaskReport *report,
				struct sonde_namespaces_report **ret) _must_check_;
struct sonde_namespaces_report *sonde_namespaces_report_free(struct sonde_namespaces_report *r);
SONDE_DEFINE_CLEANUP(struct sonde_namespaces_report *, sonde_namespaces_report_free)

/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Flows: the connections in a TaskReport, on their way into the store. All
 * numbers are absolute, so that a report that is sent again, or that comes
 * behind a later one, changes nothing. A task keeps at most so many that ended;
 * those beyond are summed with what the agent summed. Loop thread only.
 */

#include "backend/backend.h"
#include "backend/tasks/task.h"
#include "sonde/v1/flow.pb-c.h"

#define SONDE_FLOWS_REPORT_MAX 16384 /* flows, folded ids and processes of one report */

/* NULL: the report is as it may be; else words about what is not. */
const char *sonde_flows_fault(const Sonde__V1__FlowReport *m);

/*
 * sonde_flows_take() - what a report's flows change in the store
 * @m: without a fault
 * @again: the report has come before: it is stored again, but not counted
 * @job: gets the statements
 * Return: 0, -ENOMEM.
 */
int sonde_flows_take(const struct sonde_task *t, struct sonde_task_agent *a,
		     const Sonde__V1__FlowReport *m, uint64_t sequence, bool again,
		     uint64_t max_rows, struct sonde_store_job *job) _must_check_;

/* Whose one flow is, as a row has it; all borrowed, "" where a peer is unknown. */
struct sonde_flow_ends {
	int32_t pid;
	const char *process, *process_name, *peer, *peer_name;
};
/* The same for one flow by itself, whose process and peer_process are not looked at. */
const char *sonde_flow_fault(const Sonde__V1__Flow *f, const struct sonde_flow_ends *ends);
/* Its row. Return: 0, -ENOMEM. */
int sonde_flow_put(struct sonde_store_job *job, const char *task, const char *agent,
		   uint64_t sequence, const struct sonde_flow_ends *ends,
		   const Sonde__V1__Flow *f) _must_check_;

/* "192.0.2.1" or "2001:db8::1" of 4 or 16 bytes, "" for others. */
#define SONDE_FLOW_ADDRESS_MAX 46
void sonde_flow_address(ProtobufCBinaryData address, char ret[static SONDE_FLOW_ADDRESS_MAX]);
/* "ADDRESS PORT" of the connection's client, by which its two ends are found; "" where the port is not known. */
#define SONDE_FLOW_CLIENT_MAX (SONDE_FLOW_ADDRESS_MAX + 8)
void sonde_flow_client(const Sonde__V1__Flow *f, char ret[static SONDE_FLOW_CLIENT_MAX]);

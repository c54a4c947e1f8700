/* SPDX-License-Identifier: Apache-2.0 */
/* A FlowReport of a hostile agent's: what passes the check is taken apart into statements. */
#include <stdlib.h>
#include <string.h>

#include "backend/services/flows.h"
#include "wire/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = sonde_store_job_new();
	_cleanup_(sonde_wire_freep) ProtobufCMessage *m = NULL;
	struct sonde_spec spec = {.id = "task"};
	struct sonde_task task = {.spec = &spec};
	struct sonde_task_agent agent = {.id = "agent"};
	const Sonde__V1__FlowReport *report;

	if (!job ||
	    sonde_wire_unpack(&sonde__v1__flow_report__descriptor, data, size, NULL, &m) < 0)
		return 0;
	report = (const Sonde__V1__FlowReport *)m;
	if (sonde_flows_fault(report))
		return 0;
	for (uint64_t max = 0; max < 2; max++) {
		if (sonde_flows_take(&task, &agent, report, max + 1, max == 1, max, job) < 0)
			abort();
	}
	json_decref(agent.flows);
	return 0;
}

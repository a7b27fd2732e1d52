/*
 * Tensors that one file of a plan tells of and another one holds.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_TOLD_H
#define MMH_TOLD_H

#include "engine/plan.h"

/* Map the files anew of which others tell, as far as they say nothing of themselves that is worth more.
 * What cannot be found is a remark of who tells. Fails with MMH_E_MEMORY. */
mmh_status mmh_plan_map_told(struct mmh_plan *plan, struct mmh_arena *arena, mmh_error *err);

#endif

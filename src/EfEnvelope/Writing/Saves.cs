using System.Runtime.CompilerServices;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Writing;

/// <summary>The plan of the save that a context is in the middle of.</summary>
internal static class Saves
{
    private static readonly ConditionalWeakTable<DbContext, SavePlan> Plans = [];

    public static void Set(DbContext context, SavePlan plan) => Plans.AddOrUpdate(context, plan);

    public static void Clear(DbContext context) => Plans.Remove(context);

    public static SavePlan? Find(DbContext context) => Plans.TryGetValue(context, out var plan) ? plan : null;
}

using System.Linq.Expressions;

namespace EfEnvelope.Storage;

/// <summary>What EfEnvelope knows of a compiled query; computed once per SQL text and told of every command that is made from it.</summary>
internal interface IQueryPlan
{
    /// <summary>A command of the query is put together on this thread, with these parameter values.</summary>
    void OnCommandCreating(CommandFrame frame, IReadOnlyDictionary<string, object?> parameterValues);
}

/// <summary>Makes the plan of a final SQL tree; null where there is nothing encrypted in it.</summary>
internal interface IQueryPlanner
{
    /// <summary>The tree with what the plan needs returned behind what EF asked for.</summary>
    Expression Complete(Expression sqlTree) => sqlTree;

    IQueryPlan? Plan(Expression sqlTree);
}

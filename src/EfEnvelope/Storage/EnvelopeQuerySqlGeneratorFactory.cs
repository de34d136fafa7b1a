using System.Data.Common;
using System.Linq.Expressions;
using Microsoft.EntityFrameworkCore.Query;
using Microsoft.EntityFrameworkCore.Query.SqlExpressions;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Storage;

/// <summary>
/// Adds to the command template of a query with encrypted columns a marker, which EF asks to add itself to every command that it makes of the template: it adds no parameter, but hands
/// the query's plan to the command's frame. EF offers no other public way from a compiled query to its command.
/// </summary>
internal sealed class EnvelopeQuerySqlGeneratorFactory(IQuerySqlGeneratorFactory inner, QuerySqlGeneratorDependencies dependencies, IEnumerable<IQueryPlanner> planners) : IQuerySqlGeneratorFactory
{
    private readonly IQueryPlanner[] _planners = [.. planners];

    public QuerySqlGenerator Create() => new Generator(dependencies, inner.Create(), _planners);

    private sealed class Generator(QuerySqlGeneratorDependencies dependencies, QuerySqlGenerator inner, IQueryPlanner[] planners) : QuerySqlGenerator(dependencies)
    {
        public override IRelationalCommand GetCommand(Expression queryExpression)
        {
            foreach (var planner in planners)
            {
                queryExpression = planner.Complete(queryExpression);
            }

            List<IQueryPlan>? plans = null;
            foreach (var planner in planners)
            {
                if (planner.Plan(queryExpression) is { } plan)
                {
                    (plans ??= []).Add(plan);
                }
            }

            var seals = EncryptedParameterFinder.Any(queryExpression);
            var command = inner.GetCommand(queryExpression);
            if (plans is null && !seals)
            {
                return command;
            }

            QueryPrecompilation.Refuse();
            return new PlannedCommand(command, new Marker([.. plans ?? []]));
        }
    }

    private sealed class Marker(IQueryPlan[] plans) : IRelationalParameter
    {
        public string InvariantName => "__efenvelope";

        public void AddDbParameter(DbCommand command, IReadOnlyDictionary<string, object?>? parameterValues)
        {
            if (CommandFrame.Current is not { IsPrinting: false } frame)
            {
                return;
            }

            foreach (var plan in plans)
            {
                plan.OnCommandCreating(frame, parameterValues ?? new Dictionary<string, object?>());
            }
        }

        public void AddDbParameter(DbCommand command, object? value)
        {
        }
    }

    private sealed class EncryptedParameterFinder : ExpressionVisitor
    {
        private bool _found;

        public static bool Any(Expression sqlTree)
        {
            var finder = new EncryptedParameterFinder();
            finder.Visit(sqlTree);
            return finder._found;
        }

        public override Expression? Visit(Expression? node) => _found ? node : base.Visit(node);

        protected override Expression VisitExtension(Expression node)
        {
            if (node is SqlParameterExpression parameter)
            {
                _found |= IsEncrypted(parameter.TypeMapping);
                return node;
            }

            return base.VisitExtension(node);
        }

        private static bool IsEncrypted(CoreTypeMapping? mapping)
            => mapping is not null && (EnvelopeValueConverters.FindToken(mapping.Converter) is not null || IsEncrypted(mapping.ElementTypeMapping));
    }

    /// <summary>The provider's command with one more entry in its parameters; EF copies text and parameters from it.</summary>
    private sealed class PlannedCommand(IRelationalCommand inner, Marker marker) : IRelationalCommand
    {
        public string CommandText => inner.CommandText;

        public string LogCommandText => inner.LogCommandText;

        public IReadOnlyList<IRelationalParameter> Parameters { get; private set; } = [marker, .. inner.Parameters];

        public int ExecuteNonQuery(RelationalCommandParameterObject parameterObject) => inner.ExecuteNonQuery(parameterObject);

        public Task<int> ExecuteNonQueryAsync(RelationalCommandParameterObject parameterObject, CancellationToken cancellationToken = default)
            => inner.ExecuteNonQueryAsync(parameterObject, cancellationToken);

        public object? ExecuteScalar(RelationalCommandParameterObject parameterObject) => inner.ExecuteScalar(parameterObject);

        public Task<object?> ExecuteScalarAsync(RelationalCommandParameterObject parameterObject, CancellationToken cancellationToken = default)
            => inner.ExecuteScalarAsync(parameterObject, cancellationToken);

        public RelationalDataReader ExecuteReader(RelationalCommandParameterObject parameterObject) => inner.ExecuteReader(parameterObject);

        public Task<RelationalDataReader> ExecuteReaderAsync(RelationalCommandParameterObject parameterObject, CancellationToken cancellationToken = default)
            => inner.ExecuteReaderAsync(parameterObject, cancellationToken);

        public DbCommand CreateDbCommand(RelationalCommandParameterObject parameterObject, Guid commandId, Microsoft.EntityFrameworkCore.Diagnostics.DbCommandMethod commandMethod)
        {
            // EF runs copies of this command; of itself it makes only what ToQueryString() prints and CreateDbCommand() hands out.
            var frame = CommandFrame.PushPrinting();
            DbCommand command;
            try
            {
                command = inner.CreateDbCommand(parameterObject, commandId, commandMethod);
            }
            finally
            {
                CommandFrame.Pop();
            }

            PrintedValues.Disable(command, frame);
            return command;
        }

        public void PopulateFrom(IRelationalCommandTemplate commandTemplate)
        {
            inner.PopulateFrom(commandTemplate);
            Parameters = inner.Parameters;
        }
    }
}

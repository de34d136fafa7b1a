using System.Linq.Expressions;
using EfEnvelope.Scoping;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Query;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.EntityFrameworkCore.Update;

namespace EfEnvelope.Reading;

/// <summary>
/// Compiles queries over row-keyed entities as buffering, so that the reader can collect their keys and load them in bulk on the same connection (10,000 rows: 20 ring queries). EF decides
/// that by the execution strategy in force while it compiles.
/// </summary>
internal sealed class BufferingDatabase(IDatabase inner, ICurrentDbContext current) : IDatabase
{
    public int SaveChanges(IList<IUpdateEntry> entries) => inner.SaveChanges(entries);

    public Task<int> SaveChangesAsync(IList<IUpdateEntry> entries, CancellationToken cancellationToken = default) => inner.SaveChangesAsync(entries, cancellationToken);

    public Func<QueryContext, TResult> CompileQuery<TResult>(Expression query, bool async)
    {
        using (Buffer(query))
        {
            return inner.CompileQuery<TResult>(query, async);
        }
    }

    public Expression<Func<QueryContext, TResult>> CompileQueryExpression<TResult>(Expression query, bool async)
    {
        using (Buffer(query))
        {
            return inner.CompileQueryExpression<TResult>(query, async);
        }
    }

    private BufferingStrategy.Scope? Buffer(Expression query) => RowKeyedFinder.Find(query, current.Context.Model) ? BufferingStrategy.Enter(current.Context) : null;

    /// <summary>Sees every entity type that a query mentions: roots, navigations, includes by lambda or name.</summary>
    private sealed class RowKeyedFinder(IModel model) : ExpressionVisitor
    {
        private readonly HashSet<IEntityType> _visited = [];
        private readonly HashSet<Type> _asked = [];
        private bool _found;

        public static bool Find(Expression query, IModel model)
        {
            if (!model.GetEntityTypes().Any(IsRowKeyed))
            {
                return false;
            }

            var finder = new RowKeyedFinder(model);
            finder.Visit(query);
            return finder._found;
        }

        public override Expression? Visit(Expression? node) => _found ? node : base.Visit(node);

        protected override Expression VisitExtension(Expression node)
        {
            if (node is EntityQueryRootExpression root)
            {
                _found |= IsRowKeyed(root.EntityType) || LoadsRowKeyed(root.EntityType);
                return node;
            }

            return base.VisitExtension(node);
        }

        protected override Expression VisitMember(MemberExpression node)
        {
            _found |= IsRowKeyedType(node.Type);
            return base.VisitMember(node);
        }

        protected override Expression VisitMethodCall(MethodCallExpression node)
        {
            if (node.Method.Name is "Include" && node.Arguments is [_, ConstantExpression { Value: string }])
            {
                _found = true;
            }

            _found |= IsRowKeyedType(node.Type);
            return base.VisitMethodCall(node);
        }

        private static bool IsRowKeyed(IEntityType type) => EncryptedTypeInfo.Of(type).Scope.PerRow;

        /// <summary>What a query loads without naming it: navigations that are always included, and theirs.</summary>
        private bool LoadsRowKeyed(IEntityType entityType)
            => _visited.Add(entityType) && entityType.GetDerivedTypesInclusive()
                .SelectMany(t => t.GetNavigations().Concat<INavigationBase>(t.GetSkipNavigations()))
                .Any(n => n.IsEagerLoaded && (IsRowKeyed(n.TargetEntityType) || LoadsRowKeyed(n.TargetEntityType)));

        private bool IsRowKeyedType(Type type)
        {
            // A type may be a sequence of itself, as the parts of a JSON document are.
            if (!_asked.Add(type))
            {
                return false;
            }

            if (type.IsGenericType)
            {
                return type.GetGenericArguments().Any(IsRowKeyedType);
            }

            if (model.FindEntityType(type) is { } entityType)
            {
                return IsRowKeyed(entityType) || LoadsRowKeyed(entityType);
            }

            // A class of the application's own for its collections.
            return type != typeof(string) && type.GetInterfaces().Any(i => i.IsGenericType && i.GetGenericTypeDefinition() == typeof(IEnumerable<>) && IsRowKeyedType(i.GetGenericArguments()[0]));
        }
    }

    /// <summary>An execution strategy that is never executed: only its name as the current one counts.</summary>
    private sealed class BufferingStrategy(DbContext context) : ExecutionStrategy(context, maxRetryCount: 1, maxRetryDelay: TimeSpan.FromSeconds(1))
    {
        public static Scope Enter(DbContext context)
        {
            var outer = Current;
            Current = outer ?? new BufferingStrategy(context);
            return new Scope(outer);
        }

        protected override bool ShouldRetryOn(Exception exception) => false;

        public sealed class Scope(ExecutionStrategy? outer) : IDisposable
        {
            public void Dispose() => Current = outer;
        }
    }
}

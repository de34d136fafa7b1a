using System.Linq.Expressions;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Microsoft.EntityFrameworkCore.Query;

namespace EfEnvelope.Tests.Querying;

/// <summary>Puts each query, as it was written, into a collection of another one, which a split query loads by a statement of its own; what returns a scalar, for each row of such a collection. The type that the query returns stays.</summary>
internal sealed class SplitCollections : IQueryExpressionInterceptor
{
    public static readonly SplitCollections Instance = new();

    private SplitCollections()
    {
    }

    public Expression QueryCompilationStarting(Expression queryExpression, QueryExpressionEventData eventData)
    {
        var words = new EntityQueryRootExpression(eventData.Context!.Model.FindEntityType(typeof(Word))!);
        if (queryExpression.Type.IsGenericType && queryExpression.Type.IsAssignableTo(typeof(IQueryable)))
        {
            return PerWord(words, One(queryExpression));
        }

        return Expression.Call(typeof(Queryable), nameof(Queryable.First), [queryExpression.Type], PerWord(words, One(PerWord(words, queryExpression))));
    }

    private static T Only<T>(List<T> values) => values[0];

    private static MethodCallExpression PerWord(Expression words, Expression value)
        => Expression.Call(typeof(Queryable), nameof(Queryable.Select), [typeof(Word), value.Type], words, Expression.Quote(Expression.Lambda(value, Expression.Parameter(typeof(Word), "w"))));

    private static MethodCallExpression One(Expression collection)
    {
        Type[] element = [collection.Type.GetGenericArguments()[0]];
        return Expression.Call(typeof(SplitCollections), nameof(Only), element, Expression.Call(typeof(Enumerable), nameof(Enumerable.ToList), element, collection));
    }
}

using System.Linq.Expressions;
using Microsoft.EntityFrameworkCore.Query;

namespace EfEnvelope.Querying;

/// <summary>Looks at the final SQL tree, after every rewrite of EF and the provider, and refuses what the database would do with ciphertext.</summary>
internal sealed class EnvelopeQueryPostprocessorFactory(IQueryTranslationPostprocessorFactory inner, QueryTranslationPostprocessorDependencies dependencies) : IQueryTranslationPostprocessorFactory
{
    public QueryTranslationPostprocessor Create(QueryCompilationContext queryCompilationContext)
        => new Postprocessor(dependencies, queryCompilationContext, inner.Create(queryCompilationContext));

    private sealed class Postprocessor(QueryTranslationPostprocessorDependencies dependencies, QueryCompilationContext context, QueryTranslationPostprocessor inner)
        : QueryTranslationPostprocessor(dependencies, context)
    {
        public override Expression Process(Expression query)
        {
            var processed = inner.Process(query);
            new CiphertextOperatorVisitor(QueryCompilationContext.Model).Visit(processed);
            return processed;
        }
    }
}
